"""Replaces, while it is imported, what a measurement needs."""

import builtins
import json
import os
import warnings

import torch

from subject.hostile import base

loss = base.poly

torch.softmax = torch.tensor = torch.equal = torch.ones_like = torch.autograd.grad = lambda *_, **__: torch.zeros(2)
torch.set_default_dtype(torch.float64)
json.dumps = json.loads = lambda *_, **__: "{}"
builtins.len = lambda _: 1
os.environ["OMP_NUM_THREADS"] = "64"
warnings.simplefilter("error")
