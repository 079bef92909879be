"""diffusers' UNet2DModel computing what one of our networks does: an oracle for tests, a peer for the benchmark.

Where UNet2DModel has no option for something (SongUNet's gain of sqrt(1/2), its convolutions on resampled skip
connections, its single attention a decoder level), its modules are changed in place. Needs the extra `dev`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from images.denoisers.adm import ADM
from images.denoisers.blocks import Attention
from images.denoisers.precondition import Network


def peer_of(network: Network) -> Any:
    """A UNet2DModel with the network's parameters; call it with (y, t, labels), `.sample` of what it returns.

    Raises:
        ValueError: no UNet2DModel does the same: SongUNets with classes, Fourier embeddings, other filters, or a
            first level wider than `width`; group norms of fewer than 32 groups.
    """
    from diffusers import UNet2DModel

    config: Any = network.config
    widths = [config.width * multiplier for multiplier in config.multipliers]
    is_adm = isinstance(network, ADM)
    if widths[0] != config.width or config.width // config.least_group < 32:
        raise ValueError("UNet2DModel's first level has the width of its first convolution, its norms have 32 groups")
    if not isinstance(network, ADM) and (config.classes or config.embedding != "positional" or config.residual):
        raise ValueError("UNet2DModel has no SongUNet with classes, Fourier embedding, or residual encoder")
    middle: Any = network.middle[0].get_submodule("attention")
    attends = [level in config.attention for level in range(len(widths))]
    peer = UNet2DModel(
        sample_size=config.resolution,
        in_channels=config.channels_in,
        out_channels=config.channels_out,
        layers_per_block=config.blocks,
        block_out_channels=tuple(widths),
        down_block_types=tuple("AttnDownBlock2D" if here else "ResnetDownsampleBlock2D" for here in attends),
        up_block_types=tuple("AttnUpBlock2D" if here else "ResnetUpsampleBlock2D" for here in reversed(attends)),
        attention_head_dim=middle.proj.in_features // middle.heads,
        attn_norm_num_groups=32,
        norm_eps=network.out_norm.eps,
        resnet_time_scale_shift="scale_shift" if is_adm and config.scale_shift else "default",
        downsample_type="resnet",
        upsample_type="resnet",
        num_class_embeds=config.classes or None,
        flip_sin_to_cos=is_adm,
        freq_shift=0 if is_adm else 1,
        dropout=config.dropout,
    )
    for theirs, ours in pairs(network, peer):
        match(theirs, ours)
    return peer


def pairs(network: Network, peer: Any) -> Iterator[tuple[Any, Any]]:
    """(their module, ours) for all that hold parameters."""
    yield peer.time_embedding.linear_1, network.time[0]
    yield peer.time_embedding.linear_2, network.time[2]
    if network.labels is not None:
        yield peer.class_embedding, network.labels
    yield peer.conv_in, network.encoder[0]
    yield peer.conv_norm_out, network.out_norm
    yield peer.conv_out, network.out_conv
    encoder, decoder = iter(list(network.encoder)[1:]), iter(network.decoder)
    for down in peer.down_blocks:
        for i, resnet in enumerate(down.resnets):
            yield from of_block(resnet, getattr(down, "attentions", ()), i, next(encoder))
        for resnet in down.downsamplers or ():
            yield from of_block(resnet, (), 0, next(encoder))
    yield from of_block(peer.mid_block.resnets[0], peer.mid_block.attentions, 0, network.middle[0])
    yield from of_block(peer.mid_block.resnets[1], (), 0, network.middle[1])
    for up in peer.up_blocks:
        for i, resnet in enumerate(up.resnets):
            attentions = getattr(up, "attentions", ())
            block = next(decoder)
            yield from of_block(resnet, attentions, i, block)
            if len(attentions) and block.attention is None:
                attentions[i] = nn.Identity()
        for resnet in up.upsamplers or ():
            yield from of_block(resnet, (), 0, next(decoder))


def of_block(resnet: Any, attentions: Any, i: int, block: Any) -> Iterator[tuple[Any, Any]]:
    resnet.output_scale_factor = 1 / block.style.gain
    yield resnet.norm1, block.norm1
    yield resnet.conv1, block.conv1
    yield resnet.time_emb_proj, block.emb
    yield resnet.norm2, block.norm2
    yield resnet.conv2, block.conv2
    if block.skip is not None:
        if resnet.conv_shortcut is None:
            resnet.conv_shortcut = nn.Conv2d(block.skip.in_channels, block.skip.out_channels, 1)
        yield resnet.conv_shortcut, block.skip
    if block.attention is not None:
        yield attentions[i], block.attention


@torch.no_grad()
def match(theirs: Any, ours: Any) -> None:
    """Copies our parameters into their module."""
    if not isinstance(ours, Attention):
        theirs.load_state_dict(ours.state_dict())
        return
    theirs.rescale_output_factor = 1 / ours.gain
    theirs.group_norm.load_state_dict(ours.norm.state_dict())
    for name, weight, bias in zip("qkv", ours.qkv.weight.chunk(3), ours.qkv.bias.chunk(3), strict=True):
        layer = getattr(theirs, f"to_{name}")
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    theirs.to_out[0].load_state_dict(ours.proj.state_dict())


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Parameters drawn so that every part matters: fresh networks have zeros where they end."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            _draw(parameter, "norm" in name and name.endswith("weight"), generator)
    return network


def _draw(parameter: Tensor, is_gain: bool, generator: torch.Generator) -> None:
    fan = parameter[0].numel() if parameter.ndim > 1 else 25
    parameter.copy_(is_gain + torch.randn(parameter.shape, generator=generator) / fan**0.5)
