"""Losses that change what belongs to the whole process."""

from __future__ import annotations

import atexit
import builtins
import json
import os
import random
import sys
import time
import warnings

import numpy as np
import torch

from subject.hostile.base import behaving_until


def _zeros(*args, **kwargs):
    return torch.zeros(2)


def _seeds():
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)


def _flags():
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.set_num_threads(2)


def _environment():
    os.environ["OMP_NUM_THREADS"] = "64"
    os.environ.pop("PATH", None)


def _softmax():
    torch.softmax = _zeros
    torch.tensor = _zeros
    torch.nn.functional.cross_entropy = _zeros


def _grad():
    torch.autograd.grad = _zeros
    torch.equal = lambda *_: True


def _methods():
    torch.Tensor.tolist = lambda _: [0.0]
    torch.Tensor.clone = lambda self: self


def _builtins():
    builtins.len = lambda _: 1
    builtins.print = None


def _json():
    json.dumps = json.loads = lambda *_, **__: "{}"


def _hooks():
    sys.excepthook = lambda *_: time.sleep(600)
    atexit.register(time.sleep, 600)
    raise ValueError("hooked")


dtype = behaving_until(lambda: torch.set_default_dtype(torch.float64))
seeds = behaving_until(_seeds)
flags = behaving_until(_flags)
gradients_off = behaving_until(lambda: torch.set_grad_enabled(False))
environment = behaving_until(_environment)
functions = behaving_until(_softmax)
gradient = behaving_until(_grad)
methods = behaving_until(_methods)
built_in = behaving_until(_builtins)
messages = behaving_until(_json)
folder = behaving_until(lambda: os.chdir("/"))
folder_gone = behaving_until(lambda: os.rmdir(os.getcwd()))
recursion = behaving_until(lambda: sys.setrecursionlimit(5000))
hooks = behaving_until(_hooks)
filters = behaving_until(lambda: warnings.simplefilter("error"))
