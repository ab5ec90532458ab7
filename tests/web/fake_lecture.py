"""The fake service as the lecture needs it: takes data sets and jobs; its models are real, untrained networks."""

import time
from typing import Any

import torch
from fake_v1 import TENANT, FakeV1, fake_app, refusal
from fastapi import FastAPI, Request, Response
from safetensors.torch import save

from rnncore.encoding import Encoding
from rnncore.network import RecurrentNetwork
from rnncore.probes import Options, inspect
from rnncore.spec import JobSpec
from rnncore.vocabulary import Vocabulary
from services.jobqueue.records import JobRecord, JobState, Progress, QueuePlace

WAITING = QueuePlace(position=2, reason="no_free_worker", eta_seconds=12)


class FakeLecture(FakeV1):
    """`texts` by data set; after `room` more jobs none is taken; a test moves jobs on by `become`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.room = 100
        self.asked: list[dict[str, Any]] = []

    def app(self) -> FastAPI:
        app = fake_app(self)
        before = len(app.router.routes)
        add_routes(app, self)
        app.router.routes[:] = app.router.routes[before:] + app.router.routes[:before]  # the first that fits answers
        return app

    def become(self, job_id: str, state: JobState, **changes: Any) -> None:
        """The job as it is from now on."""
        at = next(at for at, job in enumerate(self.jobs) if job.id == job_id)
        self.jobs[at] = self.jobs[at].model_copy(update={"state": state, "queue": None, **changes})

    def finish(self, job_id: str) -> None:
        spec = self.job(job_id).asked()
        self.become(job_id, JobState.SUCCEEDED, progress=Progress(step=spec.train.max_steps or 0, ratio=1.0))

    def job(self, job_id: str) -> JobRecord:
        found = self.get_job(TENANT, job_id)
        assert found
        return found

    def alphabet(self, spec: JobSpec) -> str:
        return "".join(sorted(set(self.texts[spec.dataset])))

    def network(self, model: str) -> RecurrentNetwork:
        """Of a job or one of its checkpoints: each step has weights of its own."""
        job_id, _, step = model.partition(":step-")
        spec = self.job(job_id).asked()
        torch.manual_seed(spec.train.seed + int(step or 0))
        return RecurrentNetwork(spec.model, vocabulary_size=len(self.alphabet(spec)))

    def look(self, model: str, text: str, lags: int = 100) -> dict[str, Any]:
        """What the sampler sees inside."""
        spec = self.job(model.partition(":")[0]).asked()
        encoding = Encoding(vocabulary=Vocabulary(kind="characters", symbols=self.alphabet(spec)))
        ids = encoding.vocabulary.encode(text) if encoding.vocabulary else None
        assert ids is not None
        seen = inspect(
            self.network(model),
            "language_model",
            encoding,
            ids,
            Options(top=20, lags=lags),
            tbptt_steps=spec.train.tbptt_steps,
        )
        return seen.model_dump()


def add_routes(app: FastAPI, fake: FakeLecture) -> None:
    @app.post("/v1/datasets")
    async def upload(request: Request, kind: str, name: str) -> Any:
        assert (kind, bool(name)) == ("text", True)
        dataset = f"ds-{len(fake.texts):032x}"
        fake.texts[dataset] = (await request.body()).decode()
        return {"id": dataset}

    @app.post("/v1/jobs")
    async def submit(spec: JobSpec) -> Any:
        if not fake.room:
            return refusal(429, "no more jobs")
        fake.room -= 1
        assert spec.dataset in fake.texts
        job = JobRecord(
            id=f"job-{len(fake.jobs):016x}",
            state=JobState.QUEUED,
            spec=spec,
            tenant=TENANT,
            created_at=time.time(),
            queue=WAITING,
        )
        fake.jobs.insert(0, job)
        return job

    @app.get("/v1/jobs")
    def jobs(request: Request, state: JobState | None = None) -> Any:
        wanted = request.query_params.get("metadata[lecture]")
        found = [
            job
            for job in fake.jobs
            if state in (None, job.state) and wanted in (None, job.asked().metadata.get("lecture"))
        ]
        return {"object": "list", "data": found, "has_more": False}

    @app.post("/v1/jobs/{job_id}/cancel")
    def cancel(job_id: str) -> Any:
        fake.become(job_id, JobState.CANCELLED)
        return fake.job(job_id)

    @app.get("/v1/jobs/{job_id}/checkpoints")
    def checkpoints(job_id: str) -> Any:
        job = fake.job(job_id)
        every = job.asked().train.checkpoint_every_steps
        steps = range(every, job.progress.step + 1, every)
        return {"data": [{"step": step, "model": f"{job_id}:step-{step}"} for step in reversed(steps)]}

    @app.get("/v1/jobs/{job_id}/checkpoints/{step}/inspection")
    def inspection(job_id: str, step: int) -> Any:
        return fake.look(f"{job_id}:step-{step}", fake.texts[fake.job(job_id).asked().dataset][-150:])

    @app.get("/v1/models/{model}/export")
    def export(model: str, format: str) -> Response:
        assert format == "safetensors"
        return Response(save(dict(fake.network(model).state_dict())), media_type="application/octet-stream")

    @app.post("/v1/inspect")
    async def look(request: Request) -> Any:
        asked = await request.json()
        return fake.look(asked["model"], asked["input"])

    @app.post("/v1/completions")
    async def complete(request: Request) -> Any:
        """Always writes the likeliest symbol."""
        asked = await request.json()
        fake.asked.append(asked)
        spec = fake.job(asked["model"].partition(":")[0]).asked()
        alphabet = fake.alphabet(spec)
        if unknown := set(asked["prompt"]) - set(alphabet):
            return refusal(422, f"prompt: symbol {min(unknown)!r} is not in the vocabulary")
        ids = torch.tensor([[alphabet.index(symbol) for symbol in asked["prompt"]]])
        with torch.no_grad():
            logits = fake.network(asked["model"])(ids)[0][0, -1].log_softmax(dim=0)
        told = dict(zip(alphabet, logits.tolist(), strict=True))
        return {
            "choices": [{"text": alphabet[int(logits.argmax())], "logprobs": {"top_logprobs": [told]}, "index": 0}],
        }
