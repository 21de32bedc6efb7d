"""What the machine can do at best: f32 products of 1024 x 512 by 512 x 512 on all threads."""

import argparse
import json
import time

import torch

p = argparse.ArgumentParser()
p.add_argument("--threads", type=int, required=True)
p.add_argument("--seconds", type=float, default=3.0)
a = p.parse_args()
torch.set_num_threads(a.threads)
rows, inner, columns = 1024, 512, 512
x, w, y = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
took, until = [], time.perf_counter() + a.seconds
with torch.inference_mode():
    while time.perf_counter() < until or len(took) < 20:
        s = time.perf_counter()
        torch.mm(x, w, out=y)
        took.append(time.perf_counter() - s)
took.sort()
flop = 2 * rows * inner * columns
print(json.dumps(dict(gflops=flop / took[len(took) // 2] / 1e9, gflops_best=flop / took[0] / 1e9, products=len(took))))
