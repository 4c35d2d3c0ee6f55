"""Which features of a sparse autoencoder are the model's, and which are its seed's?"""
