"""From sources to images: codecs, rasteriser, the embedded drawings, archives, dataset layouts, splits."""
