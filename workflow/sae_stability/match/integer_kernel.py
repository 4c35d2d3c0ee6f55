"""The inner loop of the integer products, as LLVM instructions: 6 x 16 sums held in twelve AVX2 registers.

`vpmaddwd` multiplies sixteen pairs of 16-bit numbers and adds neighbours, twice the work of a float32 multiply-add;
compilers do not find it in a plain loop of this shape. The test compares it with numpy's integer product.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

PANEL_ROWS = 6
PANEL_COLUMNS = 16

_INDEX, _INT, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_INTS, _FLOATS, _SHORTS = ir.VectorType(_INT, 8), ir.VectorType(_FLOAT, 8), ir.VectorType(ir.IntType(16), 16)
_FIRST_LANE = ir.Constant(_INTS, [0] * 8)


@intrinsic
def multiply_panel(typing, rows, columns, out, pairs, stride, scale):
    """out[r, c] = scale * sum over pairs of rows[k, r] . columns[k, c], for 6 rows and 16 columns.

    `rows` `(pairs, 6)` and `columns` `(pairs, 16)` are int32 that hold two int16 each; `out` is float32 with `stride`
    entries a row; `pairs` is at least 1.
    """
    signature = types.void(rows, columns, out, pairs, stride, scale)

    def code(context, builder, signature, arguments):
        data = [
            context.make_array(kind)(context, builder, argument).data
            for kind, argument in zip(signature.args[:3], arguments[:3], strict=True)
        ]
        _emit(builder, *data, *arguments[3:])
        return context.get_dummy_value()

    return signature, code


def _number(value: int) -> ir.Constant:
    return ir.Constant(_INDEX, value)


def _everywhere(builder, scalar, vector):
    """A vector with `scalar` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(undefined, scalar, ir.Constant(_INT, 0)), undefined, _FIRST_LANE
    )


def _emit(builder, rows, columns, out, pairs, stride, scale):
    rows = builder.bitcast(rows, _INT.as_pointer())
    columns = builder.bitcast(columns, _INTS.as_pointer())
    name = "llvm.x86.avx2.pmadd.wd"
    multiply_add = builder.module.globals.get(name) or ir.Function(
        builder.module, ir.FunctionType(_INTS, [_SHORTS, _SHORTS]), name
    )
    entry, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    k.add_incoming(_number(0), entry)
    sums = [builder.phi(_INTS) for _ in range(2 * PANEL_ROWS)]
    halves = []
    for half in range(2):
        place = builder.add(builder.mul(k, _number(2)), _number(half))
        halves.append(builder.bitcast(builder.load(builder.gep(columns, [place]), align=4), _SHORTS))
    raised = []
    for r in range(PANEL_ROWS):
        place = builder.add(builder.mul(k, _number(PANEL_ROWS)), _number(r))
        pair = builder.bitcast(_everywhere(builder, builder.load(builder.gep(rows, [place]), align=4), _INTS), _SHORTS)
        for half in range(2):
            raised.append(builder.add(sums[2 * r + half], builder.call(multiply_add, [pair, halves[half]])))
    following = builder.add(k, _number(1))
    k.add_incoming(following, loop)
    for old, new in zip(sums, raised, strict=True):
        old.add_incoming(ir.Constant(_INTS, [0] * 8), entry)
        old.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, pairs), loop, end)
    builder.position_at_end(end)
    _store(builder, raised, out, stride, _everywhere(builder, scale, _FLOATS))


def _store(builder, sums, out, stride, scale):
    for r in range(PANEL_ROWS):
        for half in range(2):
            value = builder.fmul(builder.sitofp(sums[2 * r + half], _FLOATS), scale)
            place = builder.add(builder.mul(stride, _number(r)), _number(8 * half))
            target = builder.bitcast(builder.gep(out, [place]), _FLOATS.as_pointer())
            builder.store(value, target, align=4)
