import torch

from audiolm.codec import QuantizerConfig, SoundStream, SoundStreamConfig
from audiolm.codec.causal import StreamingState
from audiolm.codec.soundstream import CausalConv, CausalTransposedConv


def codec(**settings_):
    torch.manual_seed(0)
    quantizer = QuantizerConfig(levels=2, codebook_size=8)
    return SoundStream(
        SoundStreamConfig(channels=2, dim=4, quantizer=quantizer, **settings_)
    ).eval()


def test_other_strides_and_dilations_make_the_same_frames():
    model = codec(strides=(4, 8, 10), dilations=(1, 2))
    x = torch.randn(1, 1000)
    assert model.encode(x).shape == (1, 2, 4)
    assert model.decode(model.encode(x)).shape == (1, 1280)


def test_the_papers_layout():
    """Channels double at each stride, three residual units to a block, mirrored in the decoder."""
    model = codec()
    strided = [m.conv for m in model.encoder if isinstance(m, CausalConv) and m.conv.stride[0] > 1]
    assert [conv.stride[0] for conv in strided] == [2, 4, 5, 8]
    assert [conv.kernel_size[0] for conv in strided] == [4, 8, 10, 16]
    assert [(conv.in_channels, conv.out_channels) for conv in strided] == [
        (2, 4),
        (4, 8),
        (8, 16),
        (16, 32),
    ]
    widening = [m.conv for m in model.decoder if isinstance(m, CausalTransposedConv)]
    assert [conv.stride[0] for conv in widening] == [8, 5, 4, 2]
    assert [conv.in_channels for conv in widening] == [32, 16, 8, 4]
    assert len(model.encoder) == len(model.decoder) == 1 + 4 * 4 + 1


def test_a_causal_convolution_is_the_sum_over_the_past():
    conv = CausalConv(1, 1, 3, dilation=2)
    with torch.no_grad():
        conv.conv.weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
        conv.conv.bias.zero_()
        made = conv(torch.arange(1.0, 7.0)[None, None], StreamingState())
    # 100 x now + 10 x two before + 1 x four before
    assert made[0, 0].tolist() == [100, 200, 310, 420, 531, 642]


def test_a_causal_transposed_convolution_adds_the_step_before():
    conv = CausalTransposedConv(1, 1, stride=2)
    with torch.no_grad():
        conv.conv.weight.copy_(torch.tensor([[[1.0, 2.0, 10.0, 20.0]]]))
        conv.conv.bias.fill_(0.5)
        made = conv(torch.tensor([[[1.0, 2.0, 3.0]]]), StreamingState())
    assert made[0, 0].tolist() == [1.5, 2.5, 12.5, 24.5, 23.5, 46.5]
