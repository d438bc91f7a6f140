"""Where finished result archives are kept: one module per store, with the contract in `base`."""
