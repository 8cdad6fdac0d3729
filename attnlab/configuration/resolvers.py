"""The resolvers that the yaml files of conf/ use, as `${class_folders:DIR}`."""

from omegaconf import OmegaConf


def register_resolvers() -> None:
    """Register all resolvers with OmegaConf; calling it again changes nothing.

    conf/dataset/ uses functions of image_tree and tree_splits, whose results are cached, and of picture_table, which
    read the keys beside them: `${table_classes:}`; conf/model/ uses weights_digest, which does so too;
    conf/launcher/ uses functions of machine/gpus.
    """
    from attnlab.configuration import picture_table, tree_splits
    from attnlab.configuration.image_tree import class_count, own_listing
    from attnlab.configuration.weights_digest import weights_digest
    from attnlab.machine import gpus

    for resolve in (gpus.gpu_share, gpus.tasks_per_node, gpus.gpus_per_node):
        OmegaConf.register_new_resolver(resolve.__name__, resolve, replace=True)
    beside = {
        "table_classes": picture_table.class_count,
        "table_listing": picture_table.fingerprint,
        "checkpoint_digest": weights_digest,
    }
    for name, read in beside.items():
        OmegaConf.register_new_resolver(name, lambda *, _parent_, read=read: read(_parent_), replace=True)
    OmegaConf.register_new_resolver("class_folders", class_count, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("folder_listing", tree_splits.listing, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("folder_test", tree_splits.tested_folder, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("own_listing", own_listing, replace=True, use_cache=True)
