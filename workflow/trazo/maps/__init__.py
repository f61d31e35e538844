"""Maps of embeddings: features drawn on a plane by UMAP or t-SNE, and how far such a picture can be trusted."""
