"""RNN, LSTM and GRU over a whole sequence, faster on CPUs than torch.nn's, which walk the sequence through autograd.

Here one product of matrices serves all inputs, the loop writes into buffers, and the weights' gradients are one product
after it. Everything elementwise that does not wait for the step before is done for all steps at once.

Each kernel also takes J networks of one shape side by side, all tensors then with J before all else: the products of a
step become one batched product, everything else is as it was.

Shapes: T time, B batch, H hidden, G gates. xg_TBG (T x B x G*H): W_ih x + b_ih of every step; h_BH the state before it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class RnnKernel(torch.autograd.Function):
    """`rnn_cell` at every step. Takes xg_TBH, h_BH, w_hh, b_hh; returns h_TBH."""

    @staticmethod
    def forward(ctx: Any, xg_TBH: Tensor, h_BH: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        hs = _states(xg_TBH, h_BH)
        torch.add(xg_TBH, _row(b_hh), out=_after(hs))
        u = w_hh.mT.contiguous()
        h, *nexts = hs.unbind(-3)
        for next_h in nexts:
            _add_product(next_h, h, u)
            h = next_h.tanh_()
        ctx.save_for_backward(hs, w_hh)
        return _after(hs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hs, w_hh = ctx.saved_tensors
        d_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)  # of h, then of what stands in the tanh
        d, slope = d_TBH.unbind(-3), (1 - _after(hs) ** 2).unbind(-3)
        for t in range(len(d) - 1, 0, -1):
            d[t].mul_(slope[t])
            _add_product(d[t - 1], d[t], w_hh)
        d[0].mul_(slope[0])
        return d_TBH, d[0] @ w_hh, _weight_gradient(d_TBH, hs), d_TBH.sum((-3, -2))


class LstmKernel(torch.autograd.Function):
    """`lstm_cell` at every step. Takes xg_TB4H, h_BH, c_BH, w_hh, b_hh; returns h_TBH and the last c_BH."""

    @staticmethod
    def forward(
        ctx: Any, xg_TBG: Tensor, h_BH: Tensor, c_BH: Tensor, w_hh: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        hidden = h_BH.shape[-1]
        hs, cs = _states(xg_TBG, h_BH), _states(xg_TBG, c_BH)
        gates_TBG, tanh_c = (xg_TBG + _row(b_hh)).contiguous(), torch.empty_like(xg_TBG[..., :hidden])
        u = w_hh.mT.contiguous()
        (h, *hs_after), (c, *cs_after) = hs.unbind(-3), cs.unbind(-3)
        for gates, tanh, next_h, next_c in zip(
            gates_TBG.unbind(-3), tanh_c.unbind(-3), hs_after, cs_after, strict=True
        ):
            _add_product(gates, h, u)
            gates[..., : 2 * hidden].sigmoid_()
            i, f, g, o = gates.chunk(4, dim=-1)
            torch.mul(f, c, out=next_c).addcmul_(i, g.tanh_())
            torch.mul(o.sigmoid_(), torch.tanh(next_c, out=tanh), out=next_h)
            h, c = next_h, next_c
        ctx.save_for_backward(gates_TBG, hs, cs, tanh_c, w_hh)
        return _after(hs), c.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor, grad_c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        gates_TBG, hs, cs, tanh_c, w_hh = ctx.saved_tensors
        i, f, g, o = gates_TBG.chunk(4, dim=-1)
        # Every gate's gradient is that of c, o's that of h, times a factor that is known beforehand.
        d_TBG = torch.empty_like(gates_TBG)
        d_i, d_f, d_g, d_o = d_TBG.chunk(4, dim=-1)
        torch.mul(g, i * (1 - i), out=d_i)
        torch.mul(cs[..., :-1, :, :], f * (1 - f), out=d_f)
        torch.mul(i, 1 - g * g, out=d_g)
        torch.mul(tanh_c, o * (1 - o), out=d_o)
        into_c = (o * (1 - tanh_c * tanh_c)).unbind(-3)
        d, of_c, of_h = d_TBG.unbind(-3), d_TBG.view(*d_TBG.shape[:-1], 4, -1)[..., :3, :].unbind(-4), d_o.unbind(-3)
        forget = f.unbind(-3)
        dh = grad_TBH.clone(memory_format=torch.contiguous_format).unbind(-3)
        dc = grad_c.clone()
        for t in range(len(d) - 1, -1, -1):
            dc.addcmul_(dh[t], into_c[t])
            of_c[t].mul_(dc.unsqueeze(-2))
            of_h[t].mul_(dh[t])
            dc.mul_(forget[t])
            if t:
                _add_product(dh[t - 1], d[t], w_hh)
        return d_TBG, d[0] @ w_hh, dc, _weight_gradient(d_TBG, hs), d_TBG.sum((-3, -2))


class GruKernel(torch.autograd.Function):
    """`gru_cell` at every step, reset after the product. Takes xg_TB3H, h_BH, w_hh, b_hh; returns h_TBH."""

    @staticmethod
    def forward(ctx: Any, xg_TBG: Tensor, h_BH: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        hidden = h_BH.shape[-1]
        hs = _states(xg_TBG, h_BH)
        # U h + b' of the candidate, which r scales.
        products = torch.empty_like(_after(hs), memory_format=torch.contiguous_format)
        gates_TBG = xg_TBG.clone(memory_format=torch.contiguous_format)
        gates_TBG[..., : 2 * hidden] += _row(b_hh[..., : 2 * hidden])
        products[:] = _row(b_hh[..., 2 * hidden :])
        u_rz, u_n = (u.mT.contiguous() for u in w_hh.tensor_split([2 * hidden], dim=-2))
        h, *nexts = hs.unbind(-3)
        for gates, product, next_h in zip(gates_TBG.unbind(-3), products.unbind(-3), nexts, strict=True):
            rz, n = gates.tensor_split([2 * hidden], dim=-1)
            _add_product(rz, h, u_rz)
            r, z = rz.sigmoid_().chunk(2, dim=-1)
            _add_product(product, h, u_n)
            n.addcmul_(r, product).tanh_()
            h = torch.lerp(n, h, z, out=next_h)
        ctx.save_for_backward(gates_TBG, hs, products, w_hh)
        return _after(hs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gates_TBG, hs, products, w_hh = ctx.saved_tensors
        r, z, n = gates_TBG.chunk(3, dim=-1)
        # Every gate's gradient is the state's times a factor that is known beforehand.
        into_n = (1 - z) * (1 - n * n)
        d_TBG = torch.empty_like(gates_TBG)  # as the recurrent product sees the gates
        d_r, d_z, d_n = d_TBG.chunk(3, dim=-1)
        torch.mul(into_n, products * r * (1 - r), out=d_r)
        torch.mul(hs[..., :-1, :, :] - n, z * (1 - z), out=d_z)
        torch.mul(into_n, r, out=d_n)
        d, d_gates, zs = d_TBG.unbind(-3), d_TBG.view(*d_TBG.shape[:-1], 3, -1).unbind(-4), z.unbind(-3)
        dh_TBH = grad_TBH.clone(memory_format=torch.contiguous_format)
        dh = dh_TBH.unbind(-3)
        for t in range(len(d) - 1, 0, -1):
            d_gates[t].mul_(dh[t].unsqueeze(-2))
            _add_product(dh[t - 1].addcmul_(dh[t], zs[t]), d[t], w_hh)
        d_gates[0].mul_(dh[0].unsqueeze(-2))
        dh_before = dh[0] * zs[0]
        _add_product(dh_before, d[0], w_hh)
        dxg = d_TBG.clone()
        torch.mul(dh_TBH, into_n, out=dxg.chunk(3, dim=-1)[2])  # the input is not scaled by r
        return dxg, dh_before, _weight_gradient(d_TBG, hs), d_TBG.sum((-3, -2))


class GruBeforeKernel(torch.autograd.Function):
    """`gru_cell` at every step, reset before the product. Takes xg_TB3H, h_BH, w_hh, b_hh; returns h_TBH."""

    @staticmethod
    def forward(ctx: Any, xg_TBG: Tensor, h_BH: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        hidden = h_BH.shape[-1]
        hs = _states(xg_TBG, h_BH)
        resets = torch.empty_like(_after(hs), memory_format=torch.contiguous_format)  # r * h, which the candidate reads
        gates_TBG = (xg_TBG + _row(b_hh)).contiguous()
        u_rz, u_n = (u.mT.contiguous() for u in w_hh.tensor_split([2 * hidden], dim=-2))
        h, *nexts = hs.unbind(-3)
        for gates, reset, next_h in zip(gates_TBG.unbind(-3), resets.unbind(-3), nexts, strict=True):
            rz, n = gates.tensor_split([2 * hidden], dim=-1)
            _add_product(rz, h, u_rz)
            r, z = rz.sigmoid_().chunk(2, dim=-1)
            _add_product(n, torch.mul(r, h, out=reset), u_n)
            h = torch.lerp(n.tanh_(), h, z, out=next_h)
        ctx.save_for_backward(gates_TBG, hs, resets, w_hh)
        return _after(hs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gates_TBG, hs, resets, w_hh = ctx.saved_tensors
        hidden = hs.shape[-1]
        w_rz, w_n = w_hh.tensor_split([2 * hidden], dim=-2)
        r, z, n = gates_TBG.chunk(3, dim=-1)
        d_TBG = torch.empty_like(gates_TBG)
        d_r, d_z, d_n = d_TBG.chunk(3, dim=-1)
        torch.mul(hs[..., :-1, :, :], r * (1 - r), out=d_r)  # times the gradient of r*h
        torch.mul(hs[..., :-1, :, :] - n, z * (1 - z), out=d_z)
        torch.mul(1 - z, 1 - n * n, out=d_n)
        d_gates = d_TBG.view(*d_TBG.shape[:-1], 3, -1).unbind(-4)
        rs, zs, d_rz = r.unbind(-3), z.unbind(-3), d_TBG[..., : 2 * hidden].unbind(-3)
        # Of the state before each step, and the last.
        dh = torch.cat([torch.zeros_like(grad_TBH[..., :1, :, :]), grad_TBH], dim=-3).unbind(-3)
        for t in range(len(d_gates) - 1, -1, -1):
            d_gates[t][..., 1:, :].mul_(dh[t + 1].unsqueeze(-2))
            d_reset = d_gates[t][..., 2, :] @ w_n
            d_gates[t][..., 0, :].mul_(d_reset)
            _add_product(dh[t].addcmul_(dh[t + 1], zs[t]).addcmul_(d_reset, rs[t]), d_rz[t], w_rz)
        d_w = torch.cat([_weight_gradient(d_TBG[..., : 2 * hidden], hs), _weight_gradient(d_n, resets)], dim=-2)
        return d_TBG, dh[0], d_w, d_TBG.sum((-3, -2))


def _states(xg_TBG: Tensor, first_BH: Tensor) -> Tensor:
    """Room for the state before each step, which is there for the first of them, and the last."""
    *networks, steps, _, _ = xg_TBG.shape
    states = xg_TBG.new_empty(*networks, steps + 1, *first_BH.shape[-2:])
    states[..., 0, :, :] = first_BH
    return states


def _after(states: Tensor) -> Tensor:
    """Of those the ones behind each step."""
    return states[..., 1:, :, :]


def _row(bias: Tensor) -> Tensor:
    return bias[..., None, None, :]


def _add_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """out += a b."""
    if a.ndim == 2:
        out.addmm_(a, b)
    else:  # MKL multiplies a batch at once only into memory of its own
        out.add_(torch.bmm(a, b))


def _weight_gradient(d_TBG: Tensor, read_TBH: Tensor) -> Tensor:
    """Of the matrix that turned `read` (its first T steps) into what `d` is the gradient of."""
    read_TBH = read_TBH[..., : d_TBG.shape[-3], :, :]
    return d_TBG.flatten(-3, -2).mT @ read_TBH.flatten(-3, -2)
