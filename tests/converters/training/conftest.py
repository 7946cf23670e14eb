"""A network that was trained on stripes, and makes the helpers beside the tests importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def trained():
    import torch
    from stripes import Net, train

    torch.manual_seed(0)
    model = Net()
    for _ in train(model, 150, 1e-2):
        pass
    return model.eval()
