"""Categories: the official names of Quick, Draw!, and the choice of a dataset's classes out of those available.

What a source has available is found in `trazo.data.layouts`; nothing here touches a disk or a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from trazo.config import RandomCategories
from trazo.errors import InputError
from trazo.registry import unknown_name

_OFFICIAL = """
The Eiffel Tower, The Great Wall of China, The Mona Lisa, aircraft carrier, airplane, alarm clock, ambulance, angel,
animal migration, ant, anvil, apple, arm, asparagus, axe, backpack, banana, bandage, barn, baseball, baseball bat,
basket, basketball, bat, bathtub, beach, bear, beard, bed, bee, belt, bench, bicycle, binoculars, bird, birthday cake,
blackberry, blueberry, book, boomerang, bottlecap, bowtie, bracelet, brain, bread, bridge, broccoli, broom, bucket,
bulldozer, bus, bush, butterfly, cactus, cake, calculator, calendar, camel, camera, camouflage, campfire, candle,
cannon, canoe, car, carrot, castle, cat, ceiling fan, cell phone, cello, chair, chandelier, church, circle, clarinet,
clock, cloud, coffee cup, compass, computer, cookie, cooler, couch, cow, crab, crayon, crocodile, crown, cruise ship,
cup, diamond, dishwasher, diving board, dog, dolphin, donut, door, dragon, dresser, drill, drums, duck, dumbbell, ear,
elbow, elephant, envelope, eraser, eye, eyeglasses, face, fan, feather, fence, finger, fire hydrant, fireplace,
firetruck, fish, flamingo, flashlight, flip flops, floor lamp, flower, flying saucer, foot, fork, frog, frying pan,
garden, garden hose, giraffe, goatee, golf club, grapes, grass, guitar, hamburger, hammer, hand, harp, hat,
headphones, hedgehog, helicopter, helmet, hexagon, hockey puck, hockey stick, horse, hospital, hot air balloon,
hot dog, hot tub, hourglass, house, house plant, hurricane, ice cream, jacket, jail, kangaroo, key, keyboard, knee,
knife, ladder, lantern, laptop, leaf, leg, light bulb, lighter, lighthouse, lightning, line, lion, lipstick, lobster,
lollipop, mailbox, map, marker, matches, megaphone, mermaid, microphone, microwave, monkey, moon, mosquito, motorbike,
mountain, mouse, moustache, mouth, mug, mushroom, nail, necklace, nose, ocean, octagon, octopus, onion, oven, owl,
paint can, paintbrush, palm tree, panda, pants, paper clip, parachute, parrot, passport, peanut, pear, peas, pencil,
penguin, piano, pickup truck, picture frame, pig, pillow, pineapple, pizza, pliers, police car, pond, pool, popsicle,
postcard, potato, power outlet, purse, rabbit, raccoon, radio, rain, rainbow, rake, remote control, rhinoceros, rifle,
river, roller coaster, rollerskates, sailboat, sandwich, saw, saxophone, school bus, scissors, scorpion, screwdriver,
sea turtle, see saw, shark, sheep, shoe, shorts, shovel, sink, skateboard, skull, skyscraper, sleeping bag,
smiley face, snail, snake, snorkel, snowflake, snowman, soccer ball, sock, speedboat, spider, spoon, spreadsheet,
square, squiggle, squirrel, stairs, star, steak, stereo, stethoscope, stitches, stop sign, stove, strawberry,
streetlight, string bean, submarine, suitcase, sun, swan, sweater, swing set, sword, syringe, t-shirt, table, teapot,
teddy-bear, telephone, television, tennis racquet, tent, tiger, toaster, toe, toilet, tooth, toothbrush, toothpaste,
tornado, tractor, traffic light, train, tree, triangle, trombone, truck, trumpet, umbrella, underwear, van, vase,
violin, washing machine, watermelon, waterslide, whale, wheel, windmill, wine bottle, wine glass, wristwatch, yoga,
zebra, zigzag
"""

QUICKDRAW_CATEGORIES: tuple[str, ...] = tuple(" ".join(name.split()) for name in _OFFICIAL.split(","))
"""The 345 categories of the Quick, Draw! dataset, as its files are named.

Source: categories.txt in github.com/googlecreativelab/quickdraw-dataset.
"""


def choose(spec: Sequence[str] | RandomCategories | None, available: Iterable[str]) -> list[str]:
    """Return the classes a dataset asks for, in label order.

    Parameters
    ----------
    spec
        Names, kept in their order; or a draw by seed, which comes back sorted; or None for all, sorted. A draw
        depends on the names alone, not on the order they are listed in, and a smaller draw is part of a larger one.
    available
        Names of the classes there are.

    Raises
    ------
    InputError
        If a name is not available (the nearest are named), a name occurs twice, or a draw asks for more than there
        are.
    """
    known = sorted(set(available))
    if not known:
        raise InputError("the source has no classes; check that it is what its layout says.")
    if spec is None:
        return known
    if isinstance(spec, RandomCategories):
        if spec.random > len(known):
            raise InputError(
                f"asked for {spec.random} random categories, and {len(known)} are available; ask for at most "
                f"{len(known)}."
            )
        return sorted(sorted(known, key=lambda name: _lot(name, spec.seed))[: spec.random])
    names = list(spec)
    for name in names:
        if name not in known:
            raise InputError(unknown_name("category", name, known))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"categories listed twice: {', '.join(twice)}; name each once.")
    return names


def _lot(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"categories\0{seed}\0{name}".encode()).digest()
