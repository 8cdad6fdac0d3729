"""What older versions of attnlab had: choices that something else replaces, and keys that saved configs still hold."""

#: a choice on the command line -> what to use today
CHOICES = {
    "launcher=joblib": "launcher=local n_jobs=N",
    "dataset=imagenet_wds": "dataset=huggingface dataset.name=NAME",
}
#: keys of saved configs that nothing reads any more; none of them is part of a run's id
KEYS = {"machine.strategy"}
