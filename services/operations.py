"""`unroll drain|backup|restore|gc`: what an operator does with an installation, on UNROLL_HOME or REDIS_URL."""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnncore.errors import InvalidInput, NotFound, Unavailable, UnrollError
from services.backup.archive import Header, Manifest, secret_check
from services.backup.restore import read_header, restore_backup
from services.backup.write import write_backup
from services.garbage import collect
from services.home import redis_of
from services.jobqueue.audit import violations
from services.jobqueue.drain import SERVICE, Drains
from services.settings import Settings
from services.storage import Storage

Say = Callable[[str], None]
_FAILED, _NOT_FOUND, _UNREACHABLE, _TIMED_OUT = 1, 5, 6, 7
_LOOK_SECONDS = 0.2
# A dispatcher that looked just before a node was drained may still give it a job.
_QUIET_SECONDS = 2.0


def add_commands(commands: Any, say: Say) -> None:
    """Adds the four to argparse's sub-commands; `run` of what is parsed answers an exit code."""
    drain = commands.add_parser("drain", help="take up no jobs; running ones stop behind a checkpoint and wait")
    drain.add_argument("--node", help="one node alone: its host name, or its id in Ray; until it leaves the cluster")
    drain.add_argument("--wait", action="store_true", help="return when no job runs any more; exit 7 if some still do")
    drain.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="how long to wait (600)")
    drain.add_argument("--off", action="store_true", help="take jobs up again; without --node, everywhere")
    drain.set_defaults(run=_command(_drain, say))
    backup = commands.add_parser("backup", help="write all that the service keeps into one file; it may run")
    backup.add_argument("target", metavar="FILE", help="a file that is not there yet, or an fsspec URL (s3://...)")
    backup.add_argument(
        "--with-secrets", action="store_true", help="the signing secret and the first API key as well: guard the file"
    )
    backup.set_defaults(run=_command(_backup, say))
    restore = commands.add_parser("restore", help="fill an empty home from a backup")
    restore.add_argument("source", metavar="FILE", help="what `unroll backup` wrote, or its fsspec URL")
    restore.set_defaults(run=_command(_restore, say))
    gc = commands.add_parser("gc", help="delete from storage what no record refers to; the service may run")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    gc.set_defaults(run=_command(_collect, say))


def _command(do: Callable[[Settings, argparse.Namespace, Say], int], say: Say) -> Callable[..., int]:
    def run(settings: Settings, asked: argparse.Namespace) -> int:
        try:
            return do(settings, asked, say)
        except UnrollError as error:
            say(f"unroll: {error}")
            codes = {Unavailable: _UNREACHABLE, NotFound: _NOT_FOUND}
            return next((code for kind, code in codes.items() if isinstance(error, kind)), _FAILED)

    return run


def _drain(settings: Settings, asked: argparse.Namespace, say: Say) -> int:
    with redis_of(settings) as scripts:
        drains = Drains(scripts)
        what = drains.node(asked.node) if asked.node else SERVICE
        name = f"node {asked.node}" if asked.node else "the service"
        if asked.off:
            drains.end(what if asked.node else None)
            say(f"{name} takes jobs up again")
            return 0
        drains.begin(what)
        say(f"{name} takes up no jobs until `unroll drain --off`; those that run stop behind a checkpoint and wait")
        return _wait(drains, what, asked.timeout, say) if asked.wait else 0


def _wait(drains: Drains, what: str, seconds: float, say: Say) -> int:
    quiet = 0.0 if what == SERVICE else _QUIET_SECONDS
    deadline = empty_since = time.monotonic()
    deadline += seconds
    while True:
        at_work, present = drains.at_work(what), time.monotonic()
        if at_work:
            empty_since = present
        elif present - empty_since >= quiet:
            say("no job runs")
            return 0
        if present > deadline:
            say(f"after {seconds:g} s these still run: {', '.join(at_work) or 'perhaps one that has just begun'}")
            return _TIMED_OUT
        time.sleep(_LOOK_SECONDS)


def _backup(settings: Settings, asked: argparse.Namespace, say: Say) -> int:
    os.umask(0o077)  # it holds what users uploaded
    secrets = {name: path.read_text() for name, path in _private_files(settings).items() if path.exists()}
    with redis_of(settings, settings.secret) as scripts:
        manifest = write_backup(
            scripts,
            Storage.of(settings),
            asked.target,
            secret=settings.secret,
            secrets=secrets if asked.with_secrets else {},
        )
    say(f"{asked.target}: {_counts(manifest)}")
    if not asked.with_secrets:
        say(f"keep {_private_files(settings)['secret']} as well, somewhere else: without it nobody can restore this")
    for path, why in manifest.damaged.items():
        say(f"FAIL {path} is damaged in the service itself, and not in the backup: {why}")
    return _FAILED if manifest.damaged else 0


def _restore(settings: Settings, asked: argparse.Namespace, say: Say) -> int:
    header = read_header(asked.source)
    secret = _secret_of(settings, header)
    with _kept(_private_files(settings), header.secrets), redis_of(settings, secret) as scripts:
        manifest = restore_backup(scripts, Storage.of(settings), asked.source, secret=secret)
        broken = violations(scripts)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(manifest.created_at))
    say(f"restored as of {made}: {_counts(manifest)}")
    for path, why in manifest.damaged.items():
        say(f"FAIL {path} was damaged before the backup: {why}")
    for line in broken:
        say(f"FAIL {line}")
    return _FAILED if broken or manifest.damaged else 0


def _counts(manifest: Manifest) -> str:
    return f"{manifest.jobs} jobs, {manifest.datasets} data sets, {manifest.checkpoints} checkpoints"


def _private_files(settings: Settings) -> dict[str, Path]:
    return {"secret": settings.secret_file or settings.root / "secret", "api_key": settings.root / "api_key"}


def _secret_of(settings: Settings, header: Header) -> bytes:
    """The signing secret that the backup was made under. Raises InvalidInput where it is not at hand."""
    path = _private_files(settings)["secret"]
    secret = path.read_text() if path.exists() else header.secrets.get("secret")
    if secret is None:
        raise InvalidInput(
            f"the backup was made without its signing secret: copy the old home's file `secret` to {path} (mode 0600), "
            "or name it in UNROLL_SECRET_FILE; without it no key, record or checkpoint would be believed"
        )
    if secret_check(secret.strip().encode()) != header.secret_check:
        raise InvalidInput(f"{path} is not the secret that the backup was made under; put that one in its place")
    return secret.strip().encode()


@contextmanager
def _kept(files: Mapping[str, Path], secrets: Mapping[str, str]) -> Iterator[None]:
    """Writes those secrets that are not there yet, before anything that needs them; gone again if the block fails."""
    missing = {files[name]: text for name, text in secrets.items() if name in files and not files[name].exists()}
    try:
        for path, text in missing.items():
            path.touch(mode=0o600, exist_ok=False)
            path.write_text(text)
        yield
    except BaseException:
        for path in missing:
            path.unlink(missing_ok=True)
        raise


def _collect(settings: Settings, asked: argparse.Namespace, say: Say) -> int:
    with redis_of(settings) as scripts:
        found = collect(scripts, Storage.of(settings), is_rehearsal=asked.dry_run)
    for path, _, num_bytes in found:
        say(f"{num_bytes:>12} {path}")
    done = "would be deleted" if asked.dry_run else "deleted"
    say(f"{sum(size.num_bytes for size in found):>12} bytes that no record refers to {done}")
    return 0
