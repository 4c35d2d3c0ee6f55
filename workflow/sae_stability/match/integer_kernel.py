"""The inner loop of the integer products, as LLVM instructions that keep a panel of sums in vector registers.

`vpmaddwd` multiplies 16 pairs of 16-bit numbers (AVX2; 32 with AVX-512) and adds neighbouring products: twice the work
of a float32 multiply-add. With AVX512-VNNI, LLVM joins it and the addition to the sum into one instruction. Compilers
do not use it for a plain loop of this shape. A test compares each kernel with numpy's integer product.
"""

from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sae_stability.compiled import cached_njit

_VECTORS = 2  # vectors of columns in a panel
_INDEX, _INT, _FLOAT, _SHORT = ir.IntType(64), ir.IntType(32), ir.FloatType(), ir.IntType(16)


@dataclass(frozen=True)
class Kernel:
    """One way to multiply packed rows.

    Attributes:
        feature: processor feature that it needs, by LLVM's name.
        panel_rows, panel_columns: rows and columns of a panel of sums.
        multiply: function (rows, columns, tile, scale) that writes scale * rows . columns into `tile`, float32, panel
            by panel. `rows` `(panels, pairs, panel_rows)` and `columns` `(panels, pairs, panel_columns)` are int32 that
            hold two int16 each.
    """

    feature: str
    panel_rows: int
    panel_columns: int
    multiply: Callable

    def available(self) -> bool:
        """Whether this processor has the instructions."""
        return bool(llvm.get_host_cpu_features().get(self.feature))


def _panel(lanes: int, panel_rows: int, name: str):
    """Make multiply_panel, which computes one panel of sums; rows of `out` are `stride` entries apart."""

    @intrinsic
    def multiply_panel(typing, rows, columns, out, pairs, stride, scale):
        signature = types.void(rows, columns, out, pairs, stride, scale)

        def code(context, builder, signature, arguments):
            data = [
                context.make_array(kind)(context, builder, argument).data
                for kind, argument in zip(signature.args[:3], arguments[:3], strict=True)
            ]
            _emit(builder, lanes, panel_rows, name, *data, *arguments[3:])
            return context.get_dummy_value()

        return signature, code

    return multiply_panel


def _number(value: int) -> ir.Constant:
    return ir.Constant(_INDEX, value)


def _broadcast(builder, scalar, lanes: int):
    """A vector with `scalar` in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = ir.Constant(ir.VectorType(_INT, lanes), [0] * lanes)
    return builder.shuffle_vector(builder.insert_element(undefined, scalar, ir.Constant(_INT, 0)), undefined, first)


def _add_products(builder, name: str, sums, a, b):
    """`sums` plus the products of the 16-bit numbers in `a` and `b`, neighbours added, by the LLVM intrinsic `name`."""
    shorts = ir.VectorType(_SHORT, 2 * sums.type.count)
    function = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(sums.type, [shorts, shorts]), name
    )
    return builder.add(sums, builder.call(function, [builder.bitcast(x, shorts) for x in (a, b)]))


def _emit(builder, lanes, panel_rows, name, rows, columns, out, pairs, stride, scale):
    """Emit the loop over pairs of numbers, which adds up one panel of sums, and the code that stores the panel."""
    vector = ir.VectorType(_INT, lanes)
    rows = builder.bitcast(rows, _INT.as_pointer())
    columns = builder.bitcast(columns, vector.as_pointer())
    entry, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    k.add_incoming(_number(0), entry)
    sums = [builder.phi(vector) for _ in range(_VECTORS * panel_rows)]
    loaded = []
    for half in range(_VECTORS):
        place = builder.add(builder.mul(k, _number(_VECTORS)), _number(half))
        loaded.append(builder.load(builder.gep(columns, [place]), align=4))
    new_sums = []
    for r in range(panel_rows):
        place = builder.add(builder.mul(k, _number(panel_rows)), _number(r))
        pair = _broadcast(builder, builder.load(builder.gep(rows, [place]), align=4), lanes)
        for half in range(_VECTORS):
            new_sums.append(_add_products(builder, name, sums[_VECTORS * r + half], pair, loaded[half]))
    next_k = builder.add(k, _number(1))
    k.add_incoming(next_k, loop)
    for old, new in zip(sums, new_sums, strict=True):
        old.add_incoming(ir.Constant(vector, [0] * lanes), entry)
        old.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, pairs), loop, end)
    builder.position_at_end(end)
    _store(builder, lanes, panel_rows, new_sums, out, stride, _broadcast(builder, scale, lanes))


def _store(builder, lanes, panel_rows, sums, out, stride, scale):
    floats = ir.VectorType(_FLOAT, lanes)
    for r in range(panel_rows):
        for half in range(_VECTORS):
            value = builder.fmul(builder.sitofp(sums[_VECTORS * r + half], floats), scale)
            place = builder.add(builder.mul(stride, _number(r)), _number(lanes * half))
            target = builder.bitcast(builder.gep(out, [place]), floats.as_pointer())
            builder.store(value, target, align=4)


# The panel's sums, the vectors of columns and one row's pair fill the 16 registers of 256 bits, or the 32 of 512.
_ROWS_256, _COLUMNS_256 = 6, 8 * _VECTORS
_ROWS_512, _COLUMNS_512 = 12, 16 * _VECTORS
_panel_256 = _panel(8, _ROWS_256, "llvm.x86.avx2.pmadd.wd")
_panel_512 = _panel(16, _ROWS_512, "llvm.x86.avx512.pmaddw.d.512")


# The same loop twice, because numba caches compiled code by function name and cannot take a kernel as an argument.
@cached_njit(nogil=True)
def _multiply_256(rows, columns, tile, scale):
    for j in range(columns.shape[0]):
        for i in range(rows.shape[0]):
            corner = tile[i * _ROWS_256 :, j * _COLUMNS_256 :]
            _panel_256(rows[i], columns[j], corner, rows.shape[1], tile.shape[1], scale)


@cached_njit(nogil=True)
def _multiply_512(rows, columns, tile, scale):
    for j in range(columns.shape[0]):
        for i in range(rows.shape[0]):
            corner = tile[i * _ROWS_512 :, j * _COLUMNS_512 :]
            _panel_512(rows[i], columns[j], corner, rows.shape[1], tile.shape[1], scale)


AVX2 = Kernel("avx2", _ROWS_256, _COLUMNS_256, _multiply_256)
AVX512 = Kernel("avx512bw", _ROWS_512, _COLUMNS_512, _multiply_512)
KERNELS = (AVX512, AVX2)  # the fastest first
