"""A formula with uncertain parameters, and factors for what cases have in common.

The logarithm of what is measured is

    log formula(case; parameters) + a term for each level of each likeness + noise

with a normal prior for the logarithm of each parameter and for each term. Parameters are fitted
by Gauss-Newton steps on the posterior, the spreads of the terms by the marginal likelihood with the
formula made linear about the fit. The same linear model then gives predictions, their
uncertainty, and what each measurement would have been predicted as without its group.

Only `spreads` needs scipy; it runs when a model is fitted, not when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from harness.calibration.roofline import Array, Parameter

T = TypeVar("T")
STEP = 1e-4  # of the numerical derivative, in the logarithm of a parameter
STEP_MAX = 0.5  # of Gauss-Newton
STEPS = 3
ROUNDS = 3
SPREAD_PRIOR = 0.05
SPREAD_PRIOR_WIDTH = 1.0  # of the logarithm of a variance
SPREAD_MIN, SPREAD_MAX = 1e-3, 1.0
NOISE = "noise"


@dataclass(frozen=True)
class Design(Generic[T]):
    """What is fixed before anything is fitted. `noises` are likenesses true or false of a case.

    `formula` gives the logarithms for what `prepare` made of the cases. `spread_priors` are those
    that differ from the usual one.
    """

    parameters: tuple[Parameter, ...]
    prepare: Callable[[Sequence[T]], Any]
    formula: Callable[[Any, Array], Array]
    likenesses: Mapping[str, Callable[[T], Hashable]]
    noises: Mapping[str, Callable[[T], bool]]
    spread_priors: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.likenesses, *self.noises, NOISE)

    @property
    def center(self) -> Array:
        return np.log([parameter.prior for parameter in self.parameters])

    @property
    def width(self) -> Array:
        return np.array([parameter.spread for parameter in self.parameters])


@dataclass(frozen=True)
class Fit:
    """`theta` are logarithms of parameters, `spreads` standard deviations by likeness."""

    theta: Array
    spreads: Array


class Regression(Generic[T]):
    """A design, the cases it was fitted to, and what was measured (as logarithms)."""

    def __init__(
        self, design: Design[T], cases: Sequence[T], measured: Array, fit: Fit | None = None
    ) -> None:
        self.design = design
        self.cases = tuple(cases)
        self.measured = measured
        self._levels = [[of(case) for case in self.cases] for of in design.likenesses.values()]
        self.fit = fit or self._fitted()
        self._linear()

    def _linear(self) -> None:
        """The linear model about the fit: its mean, covariance, and weights of the residuals."""
        design = self.design
        self._mean, self._slope = linear(design, self.cases, self.fit.theta)
        self._offset = design.center - self.fit.theta
        covariance = self._common(self.fit.spreads) + self._of_formula(self._slope, self._slope)
        self._inverse = np.linalg.inv(covariance)
        self._residual = self.measured - self._mean - self._slope @ self._offset
        self._weights = self._inverse @ self._residual

    def predict(self, cases: Sequence[T]) -> tuple[Array, Array]:
        """Mean and standard deviation of the logarithm of a new measurement of each case."""
        design = self.design
        mean, slope = linear(design, cases, self.fit.theta)
        levels = [[of(case) for case in cases] for of in design.likenesses.values()]
        across = self._of_formula(slope, self._slope)
        variance = np.einsum("ij,j,ij->i", slope, design.width**2, slope)
        for ours, theirs, spread in zip(levels, self._levels, self.fit.spreads, strict=False):
            across = across + spread**2 * _same(ours, theirs)
            variance = variance + spread**2
        variance = variance + self._noise(cases, self.fit.spreads)
        known = np.einsum("ij,jk,ik->i", across, self._inverse, across)
        predicted = mean + slope @ self._offset + across @ self._weights
        return predicted, np.sqrt(np.maximum(variance - known, 1e-12))

    def without(self, indices: Sequence[int]) -> tuple[Array, Array]:
        """Error and standard deviation of these measurements, predicted from all the others.

        The error is the logarithm of measured over predicted. Parameters and terms are those that
        the others give; the spreads stay.
        """
        block = np.linalg.inv(self._inverse[np.ix_(indices, indices)])
        return block @ self._weights[list(indices)], np.sqrt(np.diag(block))

    def left_out(self, groups: Sequence[Hashable]) -> tuple[Array, Array]:
        """Error and standard deviation of each measurement, predicted without its group."""
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        error, deviation = np.zeros(len(groups)), np.zeros(len(groups))
        for indices in members.values():
            error[indices], deviation[indices] = self.without(indices)
        return error, deviation

    def bounds(self) -> tuple[Array, Array]:
        """Where each parameter lies with a probability of 90 %."""
        noise = np.linalg.inv(self._common(self.fit.spreads))
        precision = self._slope.T @ noise @ self._slope + np.diag(1 / self.design.width**2)
        deviation = np.sqrt(np.diag(np.linalg.inv(precision)))
        reach = 1.645 * deviation
        return np.exp(self.fit.theta - reach), np.exp(self.fit.theta + reach)

    def _fitted(self) -> Fit:
        self._same = np.array([_same(levels, levels) for levels in self._levels])
        spreads = self._spread_priors()
        theta = self.design.center
        for _ in range(ROUNDS):
            theta = self._steps(theta, spreads)
            spreads = self._fit_spreads(theta, spreads)
        theta = self._steps(theta, spreads)
        del self._same
        return Fit(theta, spreads)

    def _steps(self, theta: Array, spreads: Array) -> Array:
        design = self.design
        inverse = np.linalg.inv(self._common(spreads))
        prior = np.diag(1 / design.width**2)
        for _ in range(STEPS):
            mean, slope = linear(design, self.cases, theta)
            gradient = slope.T @ inverse @ (self.measured - mean)
            gradient = gradient - prior @ (theta - design.center)
            step = np.linalg.solve(slope.T @ inverse @ slope + prior, gradient)
            theta = theta + np.clip(step, -STEP_MAX, STEP_MAX)
        return theta

    def _fit_spreads(self, theta: Array, spreads: Array) -> Array:
        """The spreads of greatest posterior probability, with the formula linear about theta."""
        minimize = _minimizer()
        mean, slope = linear(self.design, self.cases, theta)
        residual = self.measured - mean + slope @ (theta - self.design.center)
        parts = self._parts()
        flat = parts.reshape(len(parts), -1)
        fixed = self._of_formula(slope, slope)
        prior = 2 * np.log(self._spread_priors())

        def objective(logs: Array) -> tuple[float, Array]:
            covariance = (np.exp(logs) @ flat).reshape(fixed.shape) + fixed
            inverse = np.linalg.inv(covariance)
            weights = inverse @ residual
            pull = (logs - prior) / SPREAD_PRIOR_WIDTH
            value = residual @ weights + np.linalg.slogdet(covariance)[1] + pull @ pull
            slopes = flat @ (inverse - np.outer(weights, weights)).ravel()
            return 0.5 * float(value), 0.5 * np.exp(logs) * slopes + pull / SPREAD_PRIOR_WIDTH

        limits = [(2 * np.log(SPREAD_MIN), 2 * np.log(SPREAD_MAX))] * len(prior)
        found = minimize(
            objective, 2 * np.log(spreads), jac=True, method="L-BFGS-B", bounds=limits,
            options={"maxiter": 40},
        )  # fmt: skip
        result: Array = np.exp(found.x / 2)
        return result

    def _parts(self) -> Array:
        noises = [self._flags(self.cases, flag) for flag in self.design.noises.values()]
        diagonals = [np.diag(flags) for flags in noises]
        return np.array([*self._same, *diagonals, np.eye(len(self.cases))])

    def _common(self, spreads: Array) -> Array:
        """Covariance of the terms and the noise, without that of the parameters."""
        total = np.diag(self._noise(self.cases, spreads))
        for levels, spread in zip(self._levels, spreads, strict=False):
            total = total + spread**2 * _same(levels, levels)
        return total

    def _noise(self, cases: Sequence[T], spreads: Array) -> Array:
        own = spreads[len(self.design.likenesses) :]
        total = np.full(len(cases), own[-1] ** 2)
        for flag, spread in zip(self.design.noises.values(), own, strict=False):
            total = total + spread**2 * self._flags(cases, flag)
        return total

    def _flags(self, cases: Sequence[T], flag: Callable[[T], bool]) -> Array:
        return np.array([float(flag(case)) for case in cases])

    def _of_formula(self, left: Array, right: Array) -> Array:
        """Covariance that uncertain parameters bring, by the slopes of two sets of cases."""
        across: Array = (left * self.design.width**2) @ right.T
        return across

    def _spread_priors(self) -> Array:
        priors = self.design.spread_priors
        return np.array([priors.get(name, SPREAD_PRIOR) for name in self.design.names])


def linear(design: Design[T], cases: Sequence[T], theta: Array) -> tuple[Array, Array]:
    """The formula at theta, and its slope over every parameter."""
    prepared = design.prepare(cases)
    mean = design.formula(prepared, theta)
    slope = np.empty((len(cases), len(theta)))
    for index in range(len(theta)):
        moved = theta.copy()
        moved[index] += STEP
        slope[:, index] = (design.formula(prepared, moved) - mean) / STEP
    return mean, slope


def _same(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> Array:
    """1 where two cases share a level, else 0."""
    numbers: dict[Hashable, int] = {}
    rows = np.array([numbers.setdefault(level, len(numbers)) for level in ours])
    columns = np.array([numbers.setdefault(level, len(numbers)) for level in theirs])
    same: Array = (rows[:, None] == columns[None, :]).astype(float)
    return same


def _minimizer() -> Callable[..., Any]:
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise CapabilityMissing(
            "fitting needs scipy", hint='pip install "edge-hil-harness[jetson]"'
        ) from error
    found: Callable[..., Any] = minimize
    return found
