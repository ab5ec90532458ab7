"""Names of everything the queue keeps in Redis. One hash tag, so that scripts may touch several keys.

| key | type | what |
|---|---|---|
| job:ID | hash | one job's record; `spec` is the JSON that was asked for |
| checkpoints:ID | hash | step -> JSON of a published checkpoint |
| events:ID | stream | bounded tail of what happened to a job |
| jobs:TENANT | zset | every job of a tenant by sequence |
| ready:TENANT | zset | jobs that may start, by (9 - priority) * 2^40 + sequence |
| tenants | zset | tenants with ready jobs, by virtual time |
| limits | hash | tenant -> JSON of its share and quotas |
| virtual_times | hash | tenant -> virtual time of its next turn |
| running:TENANT | set | jobs of a tenant that have a worker |
| group:TOKEN | set | running jobs that one worker trains together, by the token of their claim |
| in_use | hash | workers:TENANT, gpus:TENANT -> how many its running jobs have |
| capacity | hash | what all workers could run: cpu, gpu (seats), memory (bytes), most (workers it may grow to) |
| reserved | hash | cpu, gpu -> the job that free seats of this kind are kept for |
| durations | hash | all, tenant:TENANT -> mean worker time (ms) of jobs that succeeded |
| usage:TENANT | hash | DAY:WHAT -> characters, steps, worker_ms, tokens of one day (days since 1970, UTC) |
| stored | hash | tenant -> bytes that its data sets and checkpoints have in storage |
| webhooks:TENANT | hash | id -> JSON of where the ends of jobs are told |
| outbox | zset | "TENANT WEBHOOK JOB STATE NUMBER", messages still to be sent, by due time (ms) |
| outbox_tries | hash | message -> how often it failed |
| ended | zset | ended jobs by the time (ms) of their end |
| leases | zset | running jobs by the time (ms) their lease ends |
| backoff | zset | jobs that wait before they are ready again, by due time (ms) |
| paused | zset | jobs that their owner set aside, by time (ms) |
| claim:TOKEN | string | the jobs a claim got, for a claim sent twice |
| idempotency:TENANT:KEY | string | "JOB HASH" of a submission |
| try:KEY:HASH | string | idempotency key of an API key's last try to submit a body; `several`: one of them |
| aliases:TENANT | hash | name -> JSON of the model that it stands for |
| sweep:ID | hash | one sweep's record; `spec` is the JSON that was asked for |
| trials:SWEEP | hash | number -> JSON of a trial: parameters, and its job or why there is none |
| sweeps:TENANT | zset | every sweep of a tenant by sequence |
| sweeping | zset | sweeps that have not ended, by sequence |
| sweeps_ended | zset | sweeps that have, by time (ms) |
| filling:SWEEP | string | trials of the sweep are being submitted: those that could be fused wait for one another |
| sweeper | string | token of the one process that moves the sweeps on |
| datasets:TENANT | zset | data sets of a tenant by time (ms) |
| dataset:ID | hash | one data set: tenant, record (JSON), uses |
| keys | hash | HMAC of an API key -> JSON of what it may do |
| first_key | string | HMAC of the key in UNROLL_HOME/api_key that was let in last |
| key_ids | hash | id of an API key -> its HMAC |
| rate:KEY | string | when the next request of a limited key is due (ms) |
| counters | hash | totals for the metrics |
| installation | string | names this queue to the storage that its records refer to |
| bell | list | rung when a job becomes ready |
| nodes | hash | id of a Ray node with trainers -> its host name |
| drained | hash | `service`, or the id of a Ray node -> since when (ms) it takes up no jobs |
| schema | string | SCHEMA_VERSION of the program that wrote all this |
"""

PREFIX = "{unroll}:"
# Rises with each change of what lies in Redis that an earlier program could not work with: a field of JobSpec too.
SCHEMA_VERSION = 1


def job(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}"


def checkpoints(job_id: str) -> str:
    return f"{PREFIX}checkpoints:{job_id}"


def events(job_id: str) -> str:
    return f"{PREFIX}events:{job_id}"


def jobs(tenant: str) -> str:
    return f"{PREFIX}jobs:{tenant}"


def ready(tenant: str) -> str:
    return f"{PREFIX}ready:{tenant}"


def running(tenant: str) -> str:
    return f"{PREFIX}running:{tenant}"


def usage(tenant: str) -> str:
    return f"{PREFIX}usage:{tenant}"


def webhooks(tenant: str) -> str:
    return f"{PREFIX}webhooks:{tenant}"


def dataset(dataset_id: str) -> str:
    return f"{PREFIX}dataset:{dataset_id}"


def datasets(tenant: str) -> str:
    return f"{PREFIX}datasets:{tenant}"


def idempotency(tenant: str, key: str) -> str:
    return f"{PREFIX}idempotency:{tenant}:{key}"


def aliases(tenant: str) -> str:
    return f"{PREFIX}aliases:{tenant}"


def sweep(sweep_id: str) -> str:
    return f"{PREFIX}sweep:{sweep_id}"


def filling(sweep_id: str) -> str:
    return f"{PREFIX}filling:{sweep_id}"


def trials(sweep_id: str) -> str:
    return f"{PREFIX}trials:{sweep_id}"


def sweeps(tenant: str) -> str:
    return f"{PREFIX}sweeps:{tenant}"


def tenant_of_aliases(key: str) -> str:
    return key.removeprefix(aliases(""))


TENANTS = f"{PREFIX}tenants"
LEASES = f"{PREFIX}leases"
BACKOFF = f"{PREFIX}backoff"
PAUSED = f"{PREFIX}paused"
ENDED = f"{PREFIX}ended"
OUTBOX = f"{PREFIX}outbox"
OUTBOX_TRIES = f"{PREFIX}outbox_tries"
IN_USE = f"{PREFIX}in_use"
CAPACITY = f"{PREFIX}capacity"
STORED = f"{PREFIX}stored"
LIMITS = f"{PREFIX}limits"
API_KEYS = f"{PREFIX}keys"
FIRST_KEY = f"{PREFIX}first_key"
API_KEY_IDS = f"{PREFIX}key_ids"
COUNTERS = f"{PREFIX}counters"
INSTALLATION = f"{PREFIX}installation"
SWEEPING = f"{PREFIX}sweeping"
SWEEPS_ENDED = f"{PREFIX}sweeps_ended"
BELL = f"{PREFIX}bell"
NODES = f"{PREFIX}nodes"
DRAINED = f"{PREFIX}drained"
SCHEMA = f"{PREFIX}schema"
