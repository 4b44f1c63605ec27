"""Writes the files of this folder with the torch that runs it.

    python3 make.py OUT VERSION

Debian's python3-torch wrote them: 1.7.1 (bullseye), 1.13.1 (bookworm) and 2.6.0 (trixie). What its
builds call themselves is in the .json.
"""

from __future__ import annotations

import json
import os
import sys

import numpy
import torch
from crawler import Crawler, Later  # type: ignore[import-not-found]


def main(out: str, version: str) -> None:
    torch.manual_seed(5)
    policy, later = Crawler().eval(), Later().eval()
    for parameter in [*policy.parameters(), *later.parameters()]:
        torch.nn.init.uniform_(parameter, -0.5, 0.5)
    obs = torch.arange(12.0).reshape(3, 4) / 10
    adam = torch.optim.Adam(policy.parameters())
    policy(obs).sum().backward()
    adam.step()
    policy.zero_grad()
    runner = {
        "model_state_dict": policy.state_dict(),
        "optimizer_state_dict": adam.state_dict(),
        "iter": 7,
        "reward": numpy.float64(1.5),
        "returns": numpy.arange(3.0),
    }

    def save(thing: object, name: str, **options: bool) -> None:
        torch.save(thing, os.path.join(out, f"{version}-{name}.pt"), **options)

    save(policy.state_dict(), "state")
    save(runner, "runner")
    save(policy, "policy")
    if version < "2":
        save(policy, "early", _use_new_zipfile_serialization=False)
    save(later, "later")
    given = {"crawler": policy(obs).tolist(), "later": later(obs).tolist()}
    with open(os.path.join(out, f"{version}.json"), "w") as file:
        json.dump({"torch": torch.__version__, "numpy": numpy.__version__, **given}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
