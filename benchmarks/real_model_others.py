"""Further models of packages for sound, graphs, geometry and control, as `real_model_cases.py` has them."""

from __future__ import annotations

import torch
from real_model_cases import Made, ids, registered
from torch import nn

CASES: dict[str, str] = {}
"""The package of each factory, by its name."""
case = registered(CASES)


@case("torch-geometric")
def sage_pool() -> Made:
    from torch_geometric.nn import GraphSAGE, global_mean_pool

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.g = GraphSAGE(8, 16, 2)
            self.l = nn.Linear(16, 3)

        def forward(self, x, edge_index, batch):
            return self.l(global_mean_pool(self.g(x, edge_index), batch))

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 0, 4, 5, 3, 2]])
    return N().eval(), (torch.randn(6, 8), e, torch.tensor([0, 0, 0, 1, 1, 1])), {}


@case("torch-geometric")
def gin() -> Made:
    from torch_geometric.nn import GIN

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return GIN(8, 16, 2, 4).eval(), (torch.randn(6, 8), e), {}


@case("torch-geometric")
def pna() -> Made:
    from torch_geometric.nn import PNA

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return (
        PNA(8, 16, 2, 4, aggregators=["mean", "max", "std"], scalers=["identity"], deg=torch.tensor([0, 5, 1])).eval(),
        (torch.randn(6, 8), e),
        {},
    )


@case("torch-geometric")
def rgcn() -> Made:
    from torch_geometric.nn import RGCNConv

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return RGCNConv(8, 4, 3).eval(), (torch.randn(6, 8), e, torch.tensor([0, 1, 2, 0, 1, 2, 0])), {}


@case("torch-geometric")
def gatv2_edge() -> Made:
    from torch_geometric.nn import TransformerConv

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return TransformerConv(8, 4, heads=2, edge_dim=5).eval(), (torch.randn(6, 8), e, torch.randn(7, 5)), {}


@case("torch-geometric")
def set2set() -> Made:
    from torch_geometric.nn import Set2Set

    return Set2Set(8, 2).eval(), (torch.randn(6, 8), torch.tensor([0, 0, 0, 1, 1, 1])), {}


@case("torch-geometric")
def graph_norm() -> Made:
    from torch_geometric.nn import GCN2Conv, GraphNorm

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = GCN2Conv(8, 0.1)
            self.n = GraphNorm(8)

        def forward(self, x, edge_index, batch):
            return self.n(self.c(x, x, edge_index), batch)

    e = torch.tensor([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 3]])
    return N().eval(), (torch.randn(6, 8), e, torch.tensor([0, 0, 0, 1, 1, 1])), {}


@case("torch-geometric")
def pointnet() -> Made:
    from torch_geometric.nn import MLP, global_max_pool

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = MLP([3, 16, 32])
            self.b = MLP([32, 5])

        def forward(self, pos, batch):
            return self.b(global_max_pool(self.a(pos), batch))

    return N().eval(), (torch.randn(10, 3), torch.tensor([0] * 5 + [1] * 5)), {}


@case("torchaudio")
def ta_mfcc() -> Made:
    import torchaudio

    return torchaudio.transforms.MFCC(8000, 8, melkwargs={"n_fft": 64, "n_mels": 16}), (torch.randn(1, 640),), {}


@case("torchaudio")
def ta_resample() -> Made:
    import torchaudio

    return torchaudio.transforms.Resample(8000, 6000), (torch.randn(1, 640),), {}


@case("torchaudio")
def ta_spec_db() -> Made:
    import torchaudio

    return (
        nn.Sequential(torchaudio.transforms.Spectrogram(64), torchaudio.transforms.AmplitudeToDB()),
        (torch.randn(1, 640),),
        {},
    )


@case("torchaudio")
def ta_emformer() -> Made:
    import torchaudio

    return (
        torchaudio.models.Emformer(16, 2, 32, 1, 4, right_context_length=1).eval(),
        (torch.randn(1, 9, 16), torch.tensor([8])),
        {},
    )


@case("torchaudio")
def ta_hdemucs() -> Made:
    import torchaudio

    return (
        torchaudio.models.HDemucs(["a", "b"], audio_channels=1, channels=8, growth=2, nfft=256, depth=3).eval(),
        (torch.randn(1, 1, 2048),),
        {},
    )


@case("torchaudio")
def ta_griffin() -> Made:
    import torchaudio

    return torchaudio.transforms.GriffinLim(n_fft=64, n_iter=2, rand_init=False), (torch.rand(1, 33, 20),), {}


@case("silero-vad")
def silero() -> Made:
    from silero_vad import load_silero_vad

    return load_silero_vad(), (torch.randn(1, 512) * 0.1, 16000), {}


@case("local-attention")
def local_attention() -> Made:
    from local_attention import LocalTransformer

    return (
        LocalTransformer(num_tokens=99, max_seq_len=32, dim=32, depth=1, heads=4, local_attn_window_size=8).eval(),
        (ids(16),),
        {},
    )


@case("linformer")
def linformer() -> Made:
    from linformer import Linformer

    return Linformer(32, 16, 1, heads=4, k=8).eval(), (torch.randn(1, 16, 32),), {}


@case("egnn-pytorch")
def egnn() -> Made:
    from egnn_pytorch import EGNN

    return EGNN(dim=8).eval(), (torch.randn(1, 6, 8), torch.randn(1, 6, 3)), {}


@case("e3nn")
def e3nn_spherical() -> Made:
    from e3nn import o3

    class N(nn.Module):
        def forward(self, x):
            return o3.spherical_harmonics([0, 1, 2], x, normalize=True)

    return N(), (torch.randn(5, 3),), {}


@case("e3nn")
def e3nn_linear() -> Made:
    from e3nn import o3

    return (
        o3.FullyConnectedTensorProduct("2x0e+1x1o", "1x0e+1x1o", "2x0e+1x1o").eval(),
        (torch.randn(5, 5), torch.randn(5, 4)),
        {},
    )


@case("vector-quantize-pytorch")
def vq() -> Made:
    from vector_quantize_pytorch import VectorQuantize

    return VectorQuantize(dim=16, codebook_size=32).eval(), (torch.randn(1, 12, 16),), {}


@case("stable-baselines3")
def sb3_policy() -> Made:
    from gymnasium import spaces
    from stable_baselines3.common.policies import ActorCriticPolicy

    p = ActorCriticPolicy(spaces.Box(-1, 1, (6,)), spaces.Discrete(3), lambda _: 1e-3).eval()

    class N(nn.Module):
        def __init__(self):
            super().__init__()
            self.p = p

        def forward(self, obs):
            return self.p(obs, deterministic=True)

    return N(), (torch.randn(1, 6),), {}
