"""Data sets: who owns which text or table, the blob it is kept in, and whether a job reads it. Knows no file."""

import json

from rnncore.errors import Conflict, NotFound
from services.jobqueue import keys
from services.jobqueue.index import pages
from services.jobqueue.records import Dataset
from services.jobqueue.scripts import RedisScripts
from services.jobqueue.tenants import storage_quota


class Datasets:
    """The data sets of all tenants. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    def put(self, dataset: Dataset, blob: str) -> tuple[Dataset, str]:
        """Registers `dataset`, or answers the equal one that is there already, with the blob that is kept.

        Raises StorageQuotaExceeded if the tenant may not store so much more.
        """
        record = json.dumps({"dataset": dataset.model_dump(mode="json", exclude={"uses"}), "blob": blob})
        answer, *detail = self._scripts.run("put_dataset", dataset.id, dataset.tenant, record, dataset.num_bytes)
        if answer == "storage":
            raise storage_quota(dataset.tenant, dataset.num_bytes, *map(int, detail))
        kept = json.loads(detail[0])
        return Dataset.model_validate(kept["dataset"]), kept["blob"]

    def get(self, tenant: str, dataset_id: str, *, param: str = "dataset_id") -> tuple[Dataset, str]:
        """One data set and its blob. Raises NotFound naming `param`."""
        with self._scripts.faults():
            owner, uses, raw = self._redis.hmget(keys.dataset(dataset_id), "tenant", "uses", "record")
        if owner != tenant:
            raise NotFound(f"no data set {dataset_id}; list yours at GET /v1/datasets", param=param)
        kept = json.loads(raw)
        return Dataset.model_validate(kept["dataset"] | {"uses": int(uses)}), kept["blob"]

    def list(
        self, tenant: str, *, limit: int = 20, after: str | None = None, oldest_first: bool = False
    ) -> tuple[list[Dataset], bool]:
        """Data sets of `tenant` behind `after`; and whether there are more."""
        found: list[Dataset] = []
        for page in pages(self._scripts, keys.datasets(tenant), after, "after", oldest_first=oldest_first):
            for dataset_id in page:
                if len(found) == limit:
                    return found, True
                try:
                    found.append(self.get(tenant, dataset_id)[0])
                except NotFound:  # deleted since it was listed
                    continue
        return found, False

    def delete(self, tenant: str, dataset_id: str, *, param: str = "dataset_id") -> str:
        """Forgets a data set that no unfinished job reads; answers the blob that may go. Raises Conflict otherwise."""
        answer, *detail = self._scripts.run("delete_dataset", dataset_id, tenant)
        if answer == "missing":
            raise NotFound(f"no data set {dataset_id}; list yours at GET /v1/datasets", param=param)
        if answer == "in_use":
            raise Conflict(f"{dataset_id} is read by {detail[0]} unfinished jobs; cancel them first", param=param)
        blob: str = json.loads(detail[0])["blob"]
        return blob
