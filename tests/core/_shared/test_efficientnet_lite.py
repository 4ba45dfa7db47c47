"""The demo's network is EfficientNet-Lite0 as it was published."""

from __future__ import annotations

from camcore._shared.efficientnet_lite import SIZES, blocks


def test_blocks_are_those_of_efficientnet_b0():
    made = list(blocks())
    channels = [16, *[24] * 2, *[40] * 2, *[80] * 3, *[112] * 3, *[192] * 4, 320]
    assert [block.channels for block in made] == channels
    assert [block.given for block in made] == [32, *channels[:-1]]
    assert [block.kernel for block in made] == [*[3] * 3, *[5] * 2, *[3] * 3, *[5] * 7, 3]
    # The stem halves the side too, so that a map of the head has a 32nd of it.
    assert [i for i, block in enumerate(made) if block.stride == 2] == [1, 3, 5, 11]
    assert [block.expansion for block in made] == [1, *[6] * 15]


def test_blocks_of_the_larger_network_are_wider_and_more():
    made = list(blocks(SIZES["efficientnet_lite2"]))
    channels = [16, *[24] * 3, *[48] * 3, *[88] * 4, *[120] * 4, *[208] * 5, 352]
    assert [block.channels for block in made] == channels
    assert [i for i, block in enumerate(made) if block.stride == 2] == [1, 4, 7, 15]
    assert len({block.name for block in made}) == len(made)
