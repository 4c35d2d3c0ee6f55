"""Compile every Triton kernel for compute capability 9.0, which needs no GPU, and print its name."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sae_stability.sae.training.kernels import triton_sparse, triton_topk, triton_update

TARGET = GPUTarget("cuda", 90, 32)
FLOAT, LOW, INT, LONG, DOUBLE = "*fp32", "*bf16", "*i32", "*i64", "*fp64"
ADAM = {"B1": 0.9, "B2": 0.999, "EPS": 1e-8}
TILE = {"SPAN": 128, "SLOTS": 4, "WIDTH": 1024}


def compiled(name: str, types: list[str], constants: dict) -> None:
    """Compile a kernel. `types` are the types of its arguments without the constants; Triton makes an integer 1 one."""
    kernel = (vars(triton_sparse) | vars(triton_topk) | vars(triton_update))[name]
    arguments = [name for name in kernel.arg_names if name not in constants]
    signature = dict.fromkeys(kernel.arg_names, "constexpr") | dict(zip(arguments, types, strict=True))
    triton.compile(ASTSource(fn=kernel, signature=signature, constexprs=constants), target=TARGET)
    print(name)


def main() -> None:
    sizes = ["i32", "i32", "i32"]
    compiled("_group_maxima", [LOW, FLOAT, INT, *sizes], {"ROWS": 8, "GROUPS": 64, "SIZE": 32})
    compiled("_pick_groups", [INT, INT, "i32", "i32"], {"WIDTH": 1024, "SLOTS": 32})
    compiled("_pick_entries", [LOW, FLOAT, INT, INT, FLOAT, *sizes], {"SLOTS": 32, "SIZE": 32, "K": 32})
    compiled(
        "_pick_entries", [FLOAT, FLOAT, INT, INT, FLOAT, "i32"], {"SLOTS": 1, "SIZE": 4, "K": 1, "k": 1, "slots": 1}
    )
    prepared = [FLOAT, FLOAT, FLOAT, FLOAT, LOW, FLOAT, FLOAT, "fp32", "i32", "i32"]
    compiled("_prepare", prepared, {"ROWS": 16, "WIDTH": 1024, "COPY": True})
    compiled("_variance", [FLOAT, FLOAT, DOUBLE, *sizes], {"ROWS": 16, "BLOCKS": 512, "COLUMNS": 8})
    compiled("_decode", [FLOAT, LOW, INT, FLOAT, LOW, FLOAT, FLOAT, *sizes], {"SLOTS": 8, "WIDTH": 1024})
    compiled("_arrange", [LONG, INT, FLOAT, FLOAT, INT, FLOAT, FLOAT, "i32"], {"BLOCK": 1024})
    sums = [INT, FLOAT, LOW, FLOAT, FLOAT]
    compiled("_span_sums", [INT, *sums, *sizes], TILE)
    rest = {"COPY": True, "LATENTS": 8} | TILE | ADAM
    moments = [FLOAT, FLOAT, FLOAT]
    encoder = [FLOAT, FLOAT, *moments, LOW, *moments, FLOAT, LONG]
    compiled("_update_encoder", [INT, LONG, *sums, *encoder, *sizes, "i32"], rest)
    compiled("_update_decoder", [INT, *sums, FLOAT, FLOAT, *moments, LOW, *sizes], rest)
    compiled("_adam_vector", [FLOAT] * 6 + ["i32"], {"BLOCK": 1024} | ADAM)
    compiled("_dots", [FLOAT, FLOAT, LONG, LONG, FLOAT, "i32", "i32"], {"SLOTS": 4, "WIDTH": 1024})


if __name__ == "__main__":
    main()
