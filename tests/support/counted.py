"""What do the metrics of this process say, over the labels that a test does not ask for?"""

from __future__ import annotations

from libs.common import metrics


def stage(journey: str, stage: str) -> tuple[float, float]:
    """How often a stage of a journey was measured, and the seconds together."""
    name, labels = "journey_stage_seconds", {"journey": journey, "stage": stage}
    return counted(f"{name}_count", **labels), counted(f"{name}_sum", **labels)


def since(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    return after[0] - before[0], after[1] - before[1]


def counted(name: str, **labels: str) -> float:
    """The sum of the samples of ``name`` (of a histogram ``…_count`` or ``…_sum``)."""
    return sum(
        sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
