"""Datasets: one LightningDataModule a family, named by the files of conf/dataset/. To write your own, read base.py."""
