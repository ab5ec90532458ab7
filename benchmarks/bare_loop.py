"""Truncated BPTT by plain PyTorch, the peer of training.py: TEXT CELL SIZE STEPS THREADS SKIP PRECISION."""

import math
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

text, cell, size, steps, threads, skip = Path(sys.argv[1]).read_text(), sys.argv[2], *map(int, sys.argv[3:7])
hidden, layers, batch, window, embedded = size // 10, size % 10, 32, 64, 128  # 5121 is 512 units, 1 layer
torch.set_num_threads(threads)
torch.set_flush_denormal(True)
torch.manual_seed(0)
number = {symbol: i for i, symbol in enumerate(sorted(set(text)))}
ids = torch.tensor([number[symbol] for symbol in text[: int(len(text) * 0.9)]])
length = (len(ids) - 1) // batch // window * window
inputs, targets = (ids[at : at + batch * length].view(batch, length) for at in (0, 1))
embedding, output = nn.Embedding(len(number), embedded), nn.Linear(hidden, len(number))
recurrent = getattr(nn, cell.upper())(embedded, hidden, layers, batch_first=True)
parameters = [p for module in (embedding, recurrent, output) for p in module.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=4e-3, weight_decay=0.01, fused=True)
rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
state = None
for step in range(steps):
    if step == skip:
        began_at = time.perf_counter()
    at = step * window % length
    with torch.autocast("cpu", torch.bfloat16, enabled=sys.argv[7] == "bf16-mixed"):
        hidden_states, state = recurrent(embedding(inputs[:, at : at + window]), state)
        loss = cross_entropy(output(hidden_states).flatten(0, 1), targets[:, at : at + window].flatten())
    state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    rate.step()
print((steps - skip) * batch * window / (time.perf_counter() - began_at))
