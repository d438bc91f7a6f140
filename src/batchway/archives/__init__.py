"""Where finished result archives are kept: one module an archive store, one contract in `base`."""
