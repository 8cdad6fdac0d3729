"""Data: LightningDataModules over images and labels, one file a family; conf/dataset/ names them."""
