"""A Segment Anything model of the official classes with small numbers, for tests and demonstrations.

It takes pictures at 64 px, in patches of 4 px, and gives masks of 64 x 64. Its weights come from drawn scenes
(``curate/demo/tiny_sam``) and know nothing else; it is called ``tiny-test`` and is no model to work with.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from curate.prelabel.torchvision_standin import import_segment_anything

SIDE = 64  # pixels of the model's input
PATCH = 4
WIDTH = 96  # of the encoder's tokens
DEPTH = 4
HEADS = 4
WINDOW = 8
GLOBAL_BLOCKS = (1, 3)
PROMPT = 64  # width of prompts and decoder


def build_tiny() -> Any:
    """A ``segment_anything.modeling.Sam`` with random weights, in evaluation mode.

    Raises:
        CurateError: segment-anything or torch is not installed.
    """
    import_segment_anything()
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from torch.nn import LayerNorm

    grid = SIDE // PATCH
    model = Sam(
        image_encoder=ImageEncoderViT(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            mlp_ratio=4,
            out_chans=PROMPT,
            qkv_bias=True,
            norm_layer=partial(LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=WINDOW,
            global_attn_indexes=GLOBAL_BLOCKS,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=PROMPT,
            image_embedding_size=(grid, grid),
            input_image_size=(SIDE, SIDE),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer_dim=PROMPT,
            iou_head_depth=3,
            iou_head_hidden_dim=64,
            transformer=TwoWayTransformer(depth=2, embedding_dim=PROMPT, mlp_dim=128, num_heads=4),
        ),
    )
    return model.eval()
