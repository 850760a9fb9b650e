"""Prints milliseconds and CPU milliseconds of a training step of resnet8 in PyTorch: 32 pictures, cross entropy, AdamW.

  torchstep.py STEPS THREADS [channels-last]

The network is that of ../shared/models/resnet8-cifar10.onnx, normalizations folded into the convolutions as there."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def conv(i, o, k=3, s=1):
    return nn.Conv2d(i, o, k, s, padding=k // 2)


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = conv(3, 16)
        self.blocks = nn.ModuleList()
        for i, o, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2)):
            self.blocks.append(nn.ModuleList([conv(i, o, 3, s), conv(o, o), conv(i, o, 1, s) if s > 1 else nn.Identity()]))
        self.dense = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.first(x.permute(0, 3, 1, 2)))
        for a, b, short in self.blocks:
            x = F.relu(b(F.relu(a(x))) + short(x))
        return self.dense(F.avg_pool2d(x, 8).flatten(1))


def main():
    steps, best = int(sys.argv[1]), bool(sys.argv[3:])
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    m = ResNet8()
    if best:  # the layout that oneDNN likes
        m = m.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(m.parameters(), 1e-3)
    x, y = torch.rand(32, 32, 32, 3), torch.randint(0, 10, (32,))

    def step():
        opt.zero_grad(set_to_none=True)
        F.cross_entropy(m(x), y).backward()
        opt.step()

    for _ in range(5):
        step()
    times, cpu = [], time.process_time()
    for _ in range(steps):
        t = time.perf_counter()
        step()
        times.append(time.perf_counter() - t)
    cpu = time.process_time() - cpu
    times.sort()
    print(f"{times[len(times) // 5] * 1e3:.2f} {cpu / steps * 1e3:.2f}")


main()
