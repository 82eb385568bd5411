"""`AWS::CloudWatch::Alarm` in CloudFormation templates, which moto lacks."""

from __future__ import annotations

from typing import Any

from moto.cloudwatch.models import Alarm, cloudwatch_backends
from moto.core.common_models import CloudFormationModel


class AlarmResource(CloudFormationModel):
    """moto finds it among the subclasses of its model, by its type."""

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm

    @staticmethod
    def cloudformation_name_type() -> str:
        return "AlarmName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @property
    def physical_resource_id(self) -> str:
        return str(self.alarm.name)

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        if attribute_name == "Arn":
            return str(self.alarm.alarm_arn)
        # Imported late: it brings the models of every resource along, which takes seconds.
        from moto.cloudformation.exceptions import UnformattedGetAttTemplateException

        raise UnformattedGetAttTemplateException

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **_: Any,
    ) -> AlarmResource:
        given = cloudformation_json["Properties"]
        alarm = cloudwatch_backends[account_id][region_name].put_metric_alarm(
            name=given.get("AlarmName", resource_name),
            namespace=given.get("Namespace", ""),
            metric_name=given.get("MetricName", ""),
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=int(given["EvaluationPeriods"]),
            datapoints_to_alarm=_whole(given.get("DatapointsToAlarm")),
            period=int(given.get("Period", 0)),
            threshold=float(given.get("Threshold", 0.0)),
            statistic=given.get("Statistic", ""),
            extended_statistic=given.get("ExtendedStatistic"),
            description=given.get("AlarmDescription", ""),
            dimensions=given.get("Dimensions", []),
            alarm_actions=given.get("AlarmActions", []),
            ok_actions=given.get("OKActions", []),
            insufficient_data_actions=given.get("InsufficientDataActions", []),
            unit=given.get("Unit"),
            actions_enabled=str(given.get("ActionsEnabled", True)).lower() != "false",
            treat_missing_data=given.get("TreatMissingData"),
            tags=given.get("Tags", []),
        )
        return cls(alarm)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> AlarmResource:
        """In place, unless the name changes: then the old alarm goes."""
        made = cls.create_from_cloudformation_json(
            new_resource_name, cloudformation_json, account_id, region_name
        )
        if original_resource.physical_resource_id != made.physical_resource_id:
            name = original_resource.physical_resource_id
            cloudwatch_backends[account_id][region_name].delete_alarms([name])
        return made

    @classmethod
    def delete_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
    ) -> None:
        cloudwatch_backends[account_id][region_name].delete_alarms([resource_name])


def _whole(value: Any) -> int | None:
    return int(value) if value is not None else None
