"""From sources to images: codecs, rasteriser, the embedded drawings, dataset layouts, splits."""
