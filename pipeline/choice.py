"""What a person wants of the pipeline otherwise than it is committed. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from pipeline.algorithms import BUILT_IN, SEGMENTER


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineChoice:
    """What differs from the committed pipeline.

    *image* is that of an *algorithm* that is not AWS's; a *processing_image* that is '' is that of the region. *spot*:
    training on spot instances. *warm_start*: training goes on from the live model; None: where `segmenter` trains.
    *overrides* are new defaults of parameters, by name.
    """

    algorithm: str = BUILT_IN
    image: str = ""
    spot: bool = False
    processing_image: str = ""
    warm_start: bool | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)

    def but(
        self,
        *,
        algorithm: str | None,
        image: str | None,
        spot: bool | None,
        processing_image: str | None = None,
        warm_start: bool | None = None,
        overrides: Mapping[str, str],
    ) -> "PipelineChoice":
        """This one but for what is given; an image belongs to its algorithm."""
        algorithm = algorithm or self.algorithm
        return PipelineChoice(
            algorithm=algorithm,
            image=image or (self.image if algorithm == self.algorithm else ""),
            spot=self.spot if spot is None else spot,
            processing_image=self.processing_image if processing_image is None else processing_image,
            warm_start=self.warm_start if warm_start is None else warm_start,
            overrides={**self.overrides, **overrides},
        )

    @property
    def begins_warm(self) -> bool:
        """Whether training gets the live model."""
        return self.algorithm == SEGMENTER if self.warm_start is None else self.warm_start

    def told(self) -> dict[str, str]:
        """By the options that choose it, without what nobody chose."""
        chosen = {
            "--algorithm": "" if self.algorithm == BUILT_IN else self.algorithm,
            "--image": self.image,
            "--spot": "yes" if self.spot else "",
            "--processing-image": self.processing_image,
            "--warm-start": "" if self.warm_start is None else "yes" if self.warm_start else "no",
            **{f"--set {name}": value for name, value in self.overrides.items()},
        }
        return {option: value for option, value in chosen.items() if value}

    def written(self) -> bytes:
        """As it lies in the bucket beside the definition that came of it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def read(cls, body: bytes) -> "PipelineChoice | None":
        """What was written; None where somebody has put something else there."""
        try:
            found = {"warm_start": None, **json.loads(body)}  # which a file of an earlier version does not tell
            return cls(**{each.name: found[each.name] for each in fields(cls)})
        except (ValueError, KeyError, TypeError):
            return None
