"""PyTorch's plain training step of ResNet-20 (He et al., 2015, option A), for search_step.py to compare with.

The same layers, batch and images as there, scaled and normalised alike; cross-entropy, gradients clipped to norm 5,
Adam.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Basic(nn.Module):
    """Two convolutions and a shortcut without parameters."""

    def __init__(self, entering: int, channels: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = convolution(entering, channels, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = convolution(channels, channels, 1), nn.BatchNorm2d(channels)
        self.stride, self.missing = stride, (channels - entering) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.missing, self.missing))
        return F.relu(branch + shortcut)


def convolution(entering: int, channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(entering, channels, 3, stride, 1, bias=False)


def resnet20() -> nn.Sequential:
    shapes = [(16, 16, 1)] * 3 + [(16, 32, 2), (32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1)]
    stem = convolution(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU()
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    return nn.Sequential(*stem, *(Basic(*shape) for shape in shapes), *head)


def training_step(images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    """A function that makes one step on these images, [B, 32, 32, 3] uint8, and gives its loss."""
    network = resnet20().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    pixels = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
    wanted = torch.tensor(labels.astype(np.int64))

    def step() -> float:
        loss = F.cross_entropy(network((pixels.float() / 255 - 0.5) / 0.25), wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    return step
