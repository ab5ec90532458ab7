"""What a checkpoint folder holds: file names, hashes, signature. Torch-free; opens no file.

A folder is weights.safetensors (the network's parameters under their PyTorch names, and in its header what they are
the parameters of), training.safetensors (all that an exact resume needs), inspection.json (what one sees inside, where
the network can be looked into) and manifest.json, which is written last: a folder without it does not exist.
"""

import hashlib
import hmac
import json
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnncore.encoding import Encoding
from rnncore.errors import CorruptCheckpoint
from rnncore.spec import ModelSpec, Task

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
TRAINING = "training.safetensors"
INSPECTION = "inspection.json"
TO_ANSWER = (MANIFEST, WEIGHTS)
"""What a model that answers is read from."""
TO_RESUME = (*TO_ANSWER, TRAINING)
"""What training goes on from."""
FORMAT = 1


class Progress(BaseModel):
    """Where training stands after `step` optimizer steps. `window` is the next one to read, counted over all epochs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = 0
    window: int = 0
    characters: int = 0
    training_seconds: float = 0.0
    best_step: int | None = None
    best_validation_loss: float | None = None
    validations_without_improvement: int = 0


class Manifest(BaseModel):
    """The JSON half of a checkpoint. `files` maps each other file's name to its SHA-256 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    job: str
    epoch: int
    task: Task
    model: ModelSpec
    encoding: Encoding
    precision: str
    progress: Progress
    train_loss: float | None = None
    validation_loss: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    parameters_sha256: str
    environment: dict[str, str | int] = Field(default_factory=dict)
    files: dict[str, str]
    signature: str = ""

    def signed(self, secret: bytes) -> Self:
        """The same manifest, bearing the HMAC of all its other fields."""
        return self.model_copy(update={"signature": self._hmac(secret)})

    def weights_metadata(self) -> dict[str, str]:
        """What makes the weights a model, for the header of their file; equal for equal specs and data."""
        # One entry: safetensors writes several in no fixed order, and the file's hash is that of the parameters.
        fields = self.model_dump(mode="json", include={"task", "model", "encoding"})
        return {"unroll": json.dumps(fields, sort_keys=True)}

    @classmethod
    def parse(cls, raw: bytes, secret: bytes) -> Self:
        """The manifest in `raw`. Raises CorruptCheckpoint unless its signature is ours."""
        try:
            manifest = cls.model_validate_json(raw)
        except ValidationError as error:
            raise CorruptCheckpoint(f"{MANIFEST} cannot be read: {error.errors()[0]['msg']}") from error
        if manifest.format != FORMAT:
            raise CorruptCheckpoint(f"{MANIFEST} has format {manifest.format}; this version reads {FORMAT}")
        if not hmac.compare_digest(manifest.signature.encode(), manifest._hmac(secret).encode()):
            raise CorruptCheckpoint(f"{MANIFEST} of {manifest.job} was not signed by this installation")
        return manifest

    def _hmac(self, secret: bytes) -> str:
        fields = self.model_dump(mode="json", exclude={"signature"})
        return hmac.new(secret, json.dumps(fields, sort_keys=True).encode(), hashlib.sha256).hexdigest()
