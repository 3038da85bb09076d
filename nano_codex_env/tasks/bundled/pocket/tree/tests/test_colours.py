from pocket.colours import BLACK, WHITE, mix, shade, tint

GREEN = (0, 128, 0)
RED = (255, 0, 0)


def test_mix_goes_from_one_colour_to_the_other():
    assert mix(RED, GREEN, 0) == RED
    assert mix(RED, GREEN, 1) == GREEN
    assert mix(BLACK, (200, 100, 40), 0.25) == (50, 25, 10)


def test_shade_is_darker():
    assert shade(RED, 0) == RED
    assert shade((200, 100, 40), 0.75) == (50, 25, 10)
    assert shade(RED, 1) == BLACK


def test_tint_is_lighter():
    assert tint(BLACK, 0.5) == mix(BLACK, WHITE, 0.5)
    assert tint((100, 200, 1), 0.5) == (178, 228, 128)


def test_white_is_as_light_as_can_be():
    assert tint(WHITE, 0.3) == WHITE
