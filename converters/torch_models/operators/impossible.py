"""Operators that no graph has, and what to write in their place."""

from __future__ import annotations

from enginesmith.converters.torch_models.operators.registry import impossible

_EIGEN = "the eigenvalues of a matrix that need not be symmetric are complex, and no fixed number of steps finds them"
_SYMMETRIC = "use torch.linalg.eigh or eigvalsh where the matrix is symmetric, or compute them outside the model"

for _name in ("aten.linalg_eig", "aten.linalg_eigvals", "aten._linalg_eigvals"):
    impossible(_name, _EIGEN, _SYMMETRIC)
impossible(
    "aten.linalg_lstsq",
    "which method it takes, and the rank that it finds, depend on the data",
    "write torch.linalg.pinv(a) @ b, or torch.linalg.solve(a.mT @ a, a.mT @ b) where a has full rank",
)

for _name in ("aten.linalg_ldl_factor", "aten.linalg_ldl_factor_ex", "aten.linalg_ldl_solve"):
    impossible(
        _name,
        "which pivots are single and which are pairs depends on the data, and LAPACK packs them in a form of its own",
        "use torch.linalg.cholesky where the matrix is positive definite, or torch.linalg.lu_factor",
    )
