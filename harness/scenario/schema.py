"""What a scenario file may hold. Its JSON Schema is published by `harness schema scenario`."""

import json
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.json_schema import GenerateJsonSchema

from harness.scenario.part import Endpoint, Name, Part, Version
from harness.scenario.plan import BrokerKind
from harness.scenario.quantity import Duration, Limit, Size, Span, wrong
from harness.scenario.quota_file import Choice, QuotasFile
from harness.scenario.site_file import SITE_MAX, SiteFile
from harness.scenario.work_file import WorkFile

SEED_MAX = (1 << 53) - 1  # exact in every reader of JSON
VERBS = (
    *("provision", "deploy", "remove", "update", "reboot", "shutdown", "power_on", "restore"),
    *("deregister", "collect_logs", "pause_cameras", "resume_cameras"),
    *("fault", "observe", "parallel"),
)
STEPS_MAX = 500
ROLE_PATTERN = r"^arn:aws:iam::\d{12}:role/.+$"

Engine = Literal["model", "process"]
Timing = Literal["host", "jetson"]
ENGINES: tuple[str, ...] = get_args(Engine)
ENGINES_KEY = "engines"  # beside the parameters of any check: the rungs it is for


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[
    list[Name],
    Field(min_length=1, max_length=SITE_MAX),
    BeforeValidator(_listed, json_schema_input_type=Name | list[Name]),
]


def _value(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)):
        return value
    raise wrong("a parameter is one value", "text, a number, true or false")


Value = Annotated[Any, BeforeValidator(_value, json_schema_input_type=str | int | float | bool)]
Values = dict[str, Value]


class ImageFile(Part):
    """A firmware image that updates refer to by its version."""

    size: Size = Field(description='size of the payload, such as "8MiB"')
    defects: list[str] = Field(default_factory=list, description="what is wrong with it, by name")
    fuse_level: int | None = Field(
        default=None,
        ge=0,
        le=255,
        description="fuses that committing it blows; default: by version",
    )
    candidate: bool = Field(
        default=False, description="the image under test: it gets the defects that a run adds"
    )
    required: bool = Field(default=False, description="mandatory: recovery never goes below it")
    recalled: bool = Field(default=False, description="taken back: appliances refuse it")
    minimum_version: Version | None = Field(
        default=None, description="the oldest firmware it may be installed from"
    )
    endpoints: list[Endpoint] = Field(
        default_factory=list,
        max_length=16,
        description="host:port it has to reach before it is installed",
    )


class RestoreFile(Part):
    """Restore software by the buttons of an appliance."""

    appliance: Name = Field(description="the appliance whose buttons are pressed")
    to: Literal["latest", "required", "factory"] = Field(
        description="latest: reset, short; required: reset, long; factory: power and reset, long"
    )


class DeployFile(Part):
    """Deploy an application to an appliance."""

    application: Name = Field(description="one of `applications`")
    instance: Name = Field(alias="as", description="name of the new application instance")
    appliance: Name = Field(alias="on", description="the appliance it is deployed to")
    inputs: dict[str, Names] = Field(
        default_factory=dict, description="input port of the code node -> cameras"
    )
    parameters: Values = Field(default_factory=dict, description="parameters of the application")
    role: Annotated[str, Field(pattern=ROLE_PATTERN)] | None = Field(
        default=None, description="RuntimeRoleArn: the role it acts in"
    )
    expect: Literal["running", "refused"] = Field(
        default="running", description="how it must end: running, or refused by the appliance"
    )
    open_ports: list[Annotated[int, Field(ge=1, le=65535)]] = Field(
        default_factory=list,
        max_length=32,
        description="container ports of the manifest's networkRoutingRules to open",
    )
    work: WorkFile | None = Field(
        default=None, description="what its frames cost in virtual time, if not as in the profile"
    )


class SignalFile(Part):
    """Pause or resume cameras of an application."""

    instance: Name = Field(description="a deployed application instance")
    cameras: Names = Field(description="one of its cameras, or a list")


class UpdateFile(Part):
    """Update an appliance over the air."""

    appliance: Name = Field(description="the appliance to update")
    image: str = Field(description="version of one of `images`")
    expect: Literal["committed", "rolled-back", "refused"] = Field(
        description="how it must end: committed, rolled-back or refused"
    )
    allow_major: bool = Field(default=False, description="AllowMajorVersionUpdate of the job")


class FaultFile(Part):
    """A fault: injected, held, healed."""

    kind: str = Field(description="kind of fault, such as uplink.loss")
    target: Name = Field(description="what it strikes: an appliance, camera or instance")
    for_s: Duration = Field(default=0.0, alias="for", description='how long, such as "3s"')
    parameters: Values = Field(default_factory=dict, description="parameters of this kind of fault")


class NemesisFile(FaultFile):
    """A fault at its time, counted from the start of the workload."""

    at_s: Duration = Field(alias="at", description='when, from the start of the workload: "10s"')


class CloudFile(Part):
    """The control plane of the run."""

    broker: BrokerKind = Field(
        default="embedded",
        description="what serves MQTT on the process rung: embedded, or mosquitto if installed",
    )
    certificates: Span | None = Field(
        default=None, description="how long device certificates are good; default: for ever"
    )
    quotas: Choice | None = Field(
        default=None,
        description="documented, off, or those that differ; default: off, but for the streams "
        "of an application and the applications on an appliance",
    )


class StepFile(Part):
    """One step: exactly one of its keys, and perhaps a timeout."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [verb]} for verb in VERBS]})

    provision: Names | None = Field(default=None, description="appliances, a list in parallel")
    deploy: DeployFile | None = Field(default=None, description="deploy an application")
    remove: Name | None = Field(default=None, description="remove an application instance")
    update: UpdateFile | None = Field(default=None, description="update over the air")
    reboot: Names | None = Field(default=None, description="appliances, a list in parallel")
    shutdown: Names | None = Field(default=None, description="by the power button, in parallel")
    power_on: Names | None = Field(default=None, description="appliances that are off")
    restore: RestoreFile | None = Field(default=None, description="software, by the buttons")
    deregister: Names | None = Field(default=None, description="delete devices, in parallel")
    collect_logs: Names | None = Field(
        default=None, description="a log image onto a USB stick at power-on, in parallel"
    )
    pause_cameras: SignalFile | None = Field(default=None, description="of an instance")
    resume_cameras: SignalFile | None = Field(default=None, description="of an instance")
    fault: FaultFile | None = Field(default=None, description="inject, hold, heal, recover")
    observe: Span | None = Field(default=None, description="let the site run for a while")
    parallel: Annotated[list[list["StepFile"]], Field(min_length=2)] | None = Field(
        default=None, description="branches of steps, side by side"
    )
    timeout: Span | None = Field(default=None, description="give up after this long")

    @model_validator(mode="before")
    @classmethod
    def _one_verb(cls, value: Any) -> Any:
        if not isinstance(value, dict) or set(value) - {*VERBS, "timeout"}:
            return value  # said better by the checks that follow
        given = [name for name in VERBS if value.get(name) is not None]
        if len(given) != 1:
            message = f"a step does one thing, this one {len(given) or 'nothing'}"
            raise wrong(message, f"start each step with `- `; one of {', '.join(VERBS)}")
        if "timeout" in value and given[0] in ("observe", "parallel"):
            raise wrong(f"`{given[0]}` has no timeout", "remove `timeout`")
        return value

    @property
    def verb(self) -> str:
        return next(name for name in VERBS if getattr(self, name) is not None)


def _check(value: Any) -> Any:
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, dict):
        if len(value) != 1:
            raise wrong("name one check an entry", "start each check with `- `")
        return {name: {} if given is None else given for name, given in value.items()}
    return value


Check = Annotated[
    dict[str, dict[str, Any]],
    BeforeValidator(_check, json_schema_input_type=str | dict[str, dict[str, Any] | None]),
]
Measurement = Annotated[
    str,
    Field(pattern="^[a-z][a-z0-9_]{0,60}_(?:fps|ms|s|ratio|total)$", examples=["frame_latency_ms"]),
]
Statistic = Literal["p50", "p90", "p99", "max", "mean", "min", "value"]
Steps = Annotated[list[StepFile], Field(max_length=STEPS_MAX)]


class ScenarioFile(Part):
    """A scenario: a site, what is done to it, what goes wrong, and what must hold."""

    schema_version: Literal[1] = Field(alias="schema", description="version of this format: 1")
    name: Name = Field(description="name of the scenario, and of its reports")
    description: str = Field(default="", description="one line for people")
    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="every choice derives from it")
    engine: Engine = Field(
        default="process", description="model: virtual time; process: real sockets and files"
    )
    time_scale: float = Field(
        default=1.0,
        ge=1.0,
        le=1000.0,
        description="device seconds in one wall second on the process rung",
    )
    timing: Timing = Field(
        default="host",
        description="what an inference takes on the process rung: this machine's time, or the one "
        "predicted for the appliance",
    )
    site: SiteFile = Field(description="appliances and cameras")
    cloud: CloudFile = Field(default_factory=CloudFile, description="the control plane")
    images: dict[Version, ImageFile] = Field(
        default_factory=dict, description="firmware images by version"
    )
    applications: dict[Name, str] = Field(
        default_factory=dict, description="application directories, relative to this file"
    )
    bring_up: Steps = Field(description="steps that bring the site up")
    workload: Steps = Field(default_factory=list, description="steps under test")
    nemesis: list[NemesisFile] = Field(
        default_factory=list, max_length=STEPS_MAX, description="timed faults beside the workload"
    )
    checks: list[Check] = Field(min_length=1, description="checkers of the history")
    limits: dict[Measurement, Annotated[dict[Statistic, Limit], Field(min_length=1)]] = Field(
        default_factory=dict, description="limits on measurements"
    )
    stop_after: Span = Field(description="the workload is ended after this long")
    converge_within: Span = Field(description="after healing, all must be well within this long")


SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def published(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of file, by the names that files use."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Untitled)
    text = json.dumps(schema)
    for number, name in enumerate(name for name in schema.get("$defs", {}) if "_" in name):
        text = text.replace(json.dumps(name), f'"{name.split("_")[0]}{number + 1}"')
        text = text.replace(f"#/$defs/{name}", f"#/$defs/{name.split('_')[0]}{number + 1}")
    return {"$schema": SCHEMA_DIALECT, "title": title, **json.loads(text)}


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic makes up from the names of classes and fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:
        return {key: value for key, value in super().model_schema(schema).items() if key != "title"}


def quotas_schema() -> dict[str, Any]:
    """The JSON Schema of files of quotas."""
    return published(QuotasFile, "harness quotas")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of scenario files."""
    return published(ScenarioFile, "harness scenario")
