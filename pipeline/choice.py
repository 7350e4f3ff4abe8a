"""What a person wants of the pipeline otherwise than it is committed. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from pipeline.algorithms import BUILT_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineChoice:
    """What differs from the committed pipeline.

    *image* is that of an *algorithm* that is not AWS's; a *processing_image* that is '' is that of the region. *spot*:
    training on spot instances. *overrides* are new defaults of parameters, by name.
    """

    algorithm: str = BUILT_IN
    image: str = ""
    spot: bool = False
    processing_image: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)

    def but(
        self,
        *,
        algorithm: str | None,
        image: str | None,
        spot: bool | None,
        processing_image: str | None = None,
        overrides: Mapping[str, str],
    ) -> "PipelineChoice":
        """This one but for what is given; an image belongs to its algorithm."""
        algorithm = algorithm or self.algorithm
        return PipelineChoice(
            algorithm=algorithm,
            image=image or (self.image if algorithm == self.algorithm else ""),
            spot=self.spot if spot is None else spot,
            processing_image=self.processing_image if processing_image is None else processing_image,
            overrides={**self.overrides, **overrides},
        )

    def told(self) -> dict[str, str]:
        """By the options that choose it, without what nobody chose."""
        chosen = {
            "--algorithm": "" if self.algorithm == BUILT_IN else self.algorithm,
            "--image": self.image,
            "--spot": "yes" if self.spot else "",
            "--processing-image": self.processing_image,
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
            found = json.loads(body)
            return cls(**{each.name: found[each.name] for each in fields(cls)})
        except (ValueError, KeyError, TypeError):
            return None
