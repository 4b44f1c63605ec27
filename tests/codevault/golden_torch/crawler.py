"""A policy that stands on modules of torch whose attributes changed over its releases."""

from __future__ import annotations

import torch


class Crawler(torch.nn.Module):
    scale: torch.Tensor

    def __init__(self, inputs: int = 4, hidden: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.inputs, self.hidden, self.heads = inputs, hidden, heads
        self.encode = torch.nn.Sequential(
            torch.nn.Linear(inputs, hidden), torch.nn.BatchNorm1d(hidden), torch.nn.ELU()
        )
        self.memory = torch.nn.GRU(hidden, hidden)
        self.norm = torch.nn.LayerNorm(hidden)
        self.conv = torch.nn.Conv1d(1, 2, 3, padding=1)
        self.head = torch.nn.Linear(2 * hidden, 2)
        self.register_buffer("scale", torch.full((1,), 0.5))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.norm(self.memory(self.encode(obs).unsqueeze(0))[0].squeeze(0))
        given: torch.Tensor = self.head(self.conv(hidden.unsqueeze(1)).flatten(1))
        return given * self.scale


class Later(Crawler):
    """With modules whose forward asks for attributes that older releases did not write."""

    def __init__(self, inputs: int = 4, hidden: int = 8) -> None:
        super().__init__(inputs, hidden)
        self.act = torch.nn.GELU()
        self.attend = torch.nn.MultiheadAttention(inputs, 2)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return super().forward(
            self.act(self.attend(obs[:, None], obs[:, None], obs[:, None])[0])[:, 0]
        )
