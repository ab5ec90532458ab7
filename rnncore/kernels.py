"""RNN and GRU over a whole sequence, faster on CPUs than torch.nn's, which walk the sequence through autograd.

Here one product of matrices serves all inputs, the loop writes into buffers, and the weights' gradients are one product
after it. Everything elementwise that does not wait for the step before is done for all steps at once.

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
        steps = len(xg_TBH)
        hs = xg_TBH.new_empty(steps + 1, *h_BH.shape)  # the state before each step, and the last
        hs[0] = h_BH
        torch.add(xg_TBH, b_hh, out=hs[1:])
        u = w_hh.t().contiguous()
        for t in range(steps):
            hs[t + 1].addmm_(hs[t], u).tanh_()
        ctx.save_for_backward(hs, w_hh)
        return hs[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hs, w_hh = ctx.saved_tensors
        slope = 1 - hs[1:] ** 2
        d = grad_TBH.clone(memory_format=torch.contiguous_format)  # of h, then of what stands in the tanh
        for t in range(len(d) - 1, 0, -1):
            d[t].mul_(slope[t])
            d[t - 1].addmm_(d[t], w_hh)
        d[0].mul_(slope[0])
        return d, d[0] @ w_hh, _weight_gradient(d, hs), d.sum((0, 1))


class GruKernel(torch.autograd.Function):
    """`gru_cell` at every step, reset after the product. Takes xg_TB3H, h_BH, w_hh, b_hh; returns h_TBH."""

    @staticmethod
    def forward(ctx: Any, xg_TBG: Tensor, h_BH: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        steps, hidden = len(xg_TBG), h_BH.shape[1]
        hs = xg_TBG.new_empty(steps + 1, *h_BH.shape)
        hs[0] = h_BH
        products = xg_TBG.new_empty(steps, *h_BH.shape)  # U h + b' of the candidate, which r scales
        gates = xg_TBG.clone(memory_format=torch.contiguous_format)
        gates[:, :, : 2 * hidden] += b_hh[: 2 * hidden]
        u_rz, u_n = (u.t().contiguous() for u in w_hh.tensor_split([2 * hidden]))
        b_n = b_hh[2 * hidden :]
        for t in range(steps):
            h, rz, n, product = hs[t], gates[t, :, : 2 * hidden], gates[t, :, 2 * hidden :], products[t]
            rz.addmm_(h, u_rz).sigmoid_()
            torch.addmm(b_n, h, u_n, out=product)
            n.addcmul_(rz[:, :hidden], product).tanh_()
            torch.lerp(n, h, rz[:, hidden:], out=hs[t + 1])
        ctx.save_for_backward(gates, hs, products, w_hh)
        return hs[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gates, hs, products, w_hh = ctx.saved_tensors
        steps, batch, hidden = grad_TBH.shape
        r, z, n = gates.view(steps, batch, 3, hidden).unbind(2)
        # Every gate's gradient is the state's times a factor that is known beforehand.
        into_n = (1 - z) * (1 - n * n)
        d_gates = torch.empty_like(gates).view(steps, batch, 3, hidden)  # as the recurrent product sees them
        torch.mul(into_n, products * r * (1 - r), out=d_gates[:, :, 0])
        torch.mul(hs[:-1] - n, z * (1 - z), out=d_gates[:, :, 1])
        torch.mul(into_n, r, out=d_gates[:, :, 2])
        flat = d_gates.view(steps, batch, 3 * hidden)
        dh = grad_TBH.clone(memory_format=torch.contiguous_format)
        for t in range(steps - 1, 0, -1):
            d_gates[t].mul_(dh[t].unsqueeze(1))
            dh[t - 1].addcmul_(dh[t], z[t]).addmm_(flat[t], w_hh)
        d_gates[0].mul_(dh[0].unsqueeze(1))
        dh_before = torch.addmm(dh[0] * z[0], flat[0], w_hh)
        dxg = flat.clone()
        torch.mul(dh, into_n, out=dxg.view(steps, batch, 3, hidden)[:, :, 2])  # the input is not scaled by r
        return dxg, dh_before, _weight_gradient(flat, hs), flat.sum((0, 1))


class GruBeforeKernel(torch.autograd.Function):
    """`gru_cell` at every step, reset before the product. Takes xg_TB3H, h_BH, w_hh, b_hh; returns h_TBH."""

    @staticmethod
    def forward(ctx: Any, xg_TBG: Tensor, h_BH: Tensor, w_hh: Tensor, b_hh: Tensor) -> Tensor:
        steps, hidden = len(xg_TBG), h_BH.shape[1]
        hs = xg_TBG.new_empty(steps + 1, *h_BH.shape)
        hs[0] = h_BH
        resets = xg_TBG.new_empty(steps, *h_BH.shape)  # r * h, which the candidate reads
        gates = (xg_TBG + b_hh).contiguous()
        u_rz, u_n = (u.t().contiguous() for u in w_hh.tensor_split([2 * hidden]))
        for t in range(steps):
            h, rz, n, reset = hs[t], gates[t, :, : 2 * hidden], gates[t, :, 2 * hidden :], resets[t]
            rz.addmm_(h, u_rz).sigmoid_()
            torch.mul(rz[:, :hidden], h, out=reset)
            n.addmm_(reset, u_n).tanh_()
            torch.lerp(n, h, rz[:, hidden:], out=hs[t + 1])
        ctx.save_for_backward(gates, hs, resets, w_hh)
        return hs[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TBH: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gates, hs, resets, w_hh = ctx.saved_tensors
        steps, batch, hidden = grad_TBH.shape
        w_rz, w_n = w_hh.tensor_split([2 * hidden])
        r, z, n = gates.view(steps, batch, 3, hidden).unbind(2)
        d_gates = torch.empty_like(gates).view(steps, batch, 3, hidden)
        torch.mul(hs[:-1], r * (1 - r), out=d_gates[:, :, 0])  # times the gradient of r*h
        torch.mul(hs[:-1] - n, z * (1 - z), out=d_gates[:, :, 1])
        torch.mul(1 - z, 1 - n * n, out=d_gates[:, :, 2])
        flat = d_gates.view(steps, batch, 3 * hidden)
        dh = torch.cat([grad_TBH.new_zeros(1, batch, hidden), grad_TBH])  # of the state before each step, and the last
        for t in range(steps - 1, -1, -1):
            d_gates[t, :, 1:].mul_(dh[t + 1].unsqueeze(1))
            d_reset = d_gates[t, :, 2] @ w_n
            d_gates[t, :, 0].mul_(d_reset)
            dh[t].addcmul_(dh[t + 1], z[t]).addcmul_(d_reset, r[t]).addmm_(flat[t, :, : 2 * hidden], w_rz)
        d_w = torch.cat([_weight_gradient(flat[:, :, : 2 * hidden], hs), _weight_gradient(d_gates[:, :, 2], resets)])
        return flat, dh[0], d_w, flat.sum((0, 1))


def _weight_gradient(d_TBG: Tensor, read_TBH: Tensor) -> Tensor:
    """Of the matrix that turned `read` (its first T steps) into what `d` is the gradient of."""
    return d_TBG.flatten(0, 1).t() @ read_TBH[: len(d_TBG)].flatten(0, 1)
