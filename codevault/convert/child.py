"""The process in which an old file is unpickled: without network, and with nothing of the user's.

It gets a mounted snapshot's record and writes tensors and plain data into a folder; whoever reads
them takes them for a stranger's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

from codevault.convert import offline


def main(folder: str) -> None:
    """Does what `folder/task.json` says, and leaves the results beside it."""
    offline.cut()
    with open(os.path.join(folder, "task.json"), encoding="utf-8") as file:
        task = json.load(file)
    from codevault.errors import CodevaultError

    try:
        facts = _done(task, folder)
    except CodevaultError as error:
        facts = {"error": error.diagnostics()}
    with open(os.path.join(folder, "facts.json"), "w", encoding="utf-8") as file:
        json.dump(facts, file)


def _done(task: dict[str, Any], folder: str) -> dict[str, Any]:
    from codevault import fileforms
    from codevault.convert import spaces
    from codevault.convert.harvest import Harvest, harvest
    from codevault.oldforms import OldFile, namer
    from codevault.splint import mount
    from codevault_cache import Cache, Snapshot

    old = OldFile(task["path"], task["form"], None, task["weights"])
    snapshot = Snapshot.from_json(task["snapshot"].encode())
    splint = mount(snapshot, Cache(tuple(task["caches"])))
    thing, unpickler = _unpickled(old, splint, task)
    facts: dict[str, Any] = {"unpickler": unpickler}
    if old.form == fileforms.SB3:
        found = Harvest(thing[0])
        facts["arguments"] = spaces.arguments(thing[1], namer(splint))
    else:
        found = harvest(thing, task["state"])
    facts |= {"left_out": found.left_out, "stripped": found.stripped}
    _write(folder, "weights.safetensors", _weights(found.state))
    if found.policy is not None:
        facts |= _policy(found.policy, splint, task, folder)
    return facts


def _unpickled(old: Any, splint: Any, task: dict[str, Any]) -> tuple[Any, str]:
    """The object, and which unpickler gave it."""
    import pickle

    from codevault import fileforms
    from codevault.convert import unpickling
    from codevault.convert.names import lost, permitted, refused
    from codevault.errors import ConvertError

    names = task["names"]
    gone = lost(names, splint)
    if gone:
        raise ConvertError(
            f"{task['path']} holds objects of classes that {splint.name} does not have",
            ", ".join(gone[:10]),
            "name the commit that it was saved with: --commit SHA",
        )
    known = permitted(names, splint)
    zipped = old.form == fileforms.SB3
    read = unpickling.reader(splint, known, None)
    try:
        thing = unpickling.load(old, splint, known)
        return ((thing, unpickling.spaces(old, read)) if zipped else thing), "restricted"
    except pickle.UnpicklingError as error:
        if not task["allow_pickle"]:
            unknown = refused(names, known)
            said = str(error).rpartition("WeightsUnpickler error:")[2].strip()
            what = f"it looks up {', '.join(unknown[:10])}" if unknown else said[:300]
            raise ConvertError(
                f"{task['path']} cannot be read without running what it says",
                what,
                "--allow-pickle  # if you trust the file",
            ) from None
    thing = unpickling.load_fully(old, splint, names)
    read = unpickling.reader(splint, known, names)
    return ((thing, unpickling.spaces(old, read)) if zipped else thing), "full"


def _policy(policy: Any, splint: Any, task: dict[str, Any], folder: str) -> dict[str, Any]:
    """Class, arguments and probe of a policy that was in the file as an object."""
    from codevault.convert.harvest import guess
    from codevault.convert.observations import NONE, parse
    from codevault.errors import CaptureError
    from codevault.probe import record
    from codevault.probefile import to_bytes

    facts: dict[str, Any] = {"class": f"{type(policy).__module__}:{type(policy).__qualname__}"}
    if task["class_path"] is None:
        facts["guess"] = dataclasses.asdict(guess(policy, splint, task["arguments"]))
    if task["probe"] not in (None, NONE):
        try:
            with splint.resolving():
                _write(
                    folder, "probe.safetensors", [to_bytes(record(policy, parse(task["probe"])))]
                )
        except CaptureError as error:
            facts["probe_error"] = f"{error.what}: {error.why}"
    return facts


def _weights(state: Any) -> Any:
    from codevault import tensorfile

    return tensorfile.prepare(state, {}).chunks()


def _write(folder: str, name: str, chunks: Any) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        for chunk in chunks:
            file.write(chunk)


if __name__ == "__main__":
    main(sys.argv[1])
