"""Stands for captioned pictures of your own: two training halves, and public pictures, each with known objects."""

from dejavu_lightning.data import ObjectScenes

scenes = ObjectScenes(900, image_size=48)
pictures = [scenes.image(index).float() / 255 for index in range(900)]
captioned = list(zip(pictures[:300], scenes.captions[:300], strict=True))
known = [
    {"id": i, "image": image, "caption": caption, "objects": objects, "named": named}
    for i, image, caption, objects, named in zip(
        scenes.ids, pictures, scenes.captions, scenes.objects, scenes.named, strict=True
    )
]
attacked, other_split, public = known[:300], known[300:600], known[600:]
