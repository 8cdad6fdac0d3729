"""Ways in which a wrong number, or lost work, went unnoticed once, and the tests that try each of them.

conftest.py counts: "silent wrong numbers tried: N, found: M", over those that a session ran.
"""

TRIED = {
    "code edited during a sweep": [
        "faults/test_source_code.py::test_code_that_is_edited_during_a_sweep_is_not_used_and_the_records_say_so",
    ],
    "edited code found recorded": [
        "faults/test_source_code.py::test_edited_code_is_not_found_recorded_and_not_overwritten",
        "faults/test_source_code.py::test_a_sweep_says_it_once_a_file_and_runs_the_rest",
    ],
    "resumed under something else": ["faults/test_provenance.py::test_what_a_run_went_on_under_is_recorded"],
    "a parent trained anew": [
        "faults/test_provenance.py::test_a_parent_that_was_trained_anew_leaves_its_child_in_doubt",
    ],
    "checkpoints of another run or epoch": [
        "faults/test_provenance.py::test_the_checkpoint_of_another_run_is_refused",
        "faults/test_provenance.py::test_an_older_last_ckpt_never_tests_the_weights_of_a_lost_epoch",
        "faults/test_provenance.py::test_a_kill_between_last_and_best_costs_nothing",
        "faults/test_provenance.py::test_a_kill_between_last_and_best_of_the_last_epoch_costs_nothing",
    ],
    "speeds of unequal runs": [
        "tables/test_same_setup.py::test_a_row_that_shared_the_machine_otherwise_shows_no_speed",
    ],
    "two records of one run": [
        "records/test_record.py::test_of_two_results_of_one_run_none_counts",
        "tables/test_report.py::test_two_records_of_one_run_are_named_until_a_folder_is_chosen",
        "tables/test_maps_picture.py::test_neither_of_two_results_of_one_run_is_used_until_a_folder_is_chosen",
        "records/test_wandb_import.py::test_two_records_of_one_run_that_differ_are_named_and_neither_is_used",
    ],
    "cached pixels": [
        "data/test_same_images.py::test_files_replaced_under_equal_times_are_decoded_anew",
        "data/test_same_images.py::test_a_mended_decoder_keeps_no_pixels_of_the_old_one",
    ],
    "pixels clipped": [
        "data/test_pictures.py::test_grey_of_16_bits_is_the_grey_of_8",
        "data/test_pictures.py::test_pixels_without_a_known_range_are_refused_by_name",
        "data/test_pictures.py::test_what_is_transparent_lies_on_white",
    ],
    "files left out": [
        "data/test_left_out.py::test_what_is_left_out_is_counted_class_by_class",
        "data/test_left_out.py::test_a_class_that_loses_most_of_its_files_is_refused",
    ],
    "other images under one id": [
        "data/test_same_images.py::test_a_cifar_tree_is_cifar_or_refused",
        "data/test_same_images.py::test_imagenets_of_equal_names_and_sizes_are_told_apart",
        "data/test_same_images.py::test_a_run_is_evaluated_on_its_own_images_and_says_when_it_did_not_look",
    ],
    "test images that are training images": ["data/test_duplicates.py::test_a_run_says_and_records_them"],
    "validation images trained on before": [
        "data/test_held_out.py::test_start_from_warns_where_held_out_images_were_trained_on",
    ],
    "masks": [
        "data/test_object_masks.py::test_any_channel_that_is_not_zero_is_the_object",
        "evaluation/test_suite.py::test_how_many_images_have_a_mask_is_beside_the_score",
    ],
    "a part judged otherwise": [
        "evaluation/test_judged_again.py::test_other_masks_are_judged_again",
        "evaluation/test_judged_again.py::test_another_transfer_set_of_the_same_name_is_judged_again",
        "evaluation/test_judged_again.py::test_another_judges_code_judges_again",
    ],
    "two judges of one run": ["evaluation/test_judged_again.py::test_two_judges_of_one_run_lose_nothing"],
    "report filters": ["tables/test_report.py::test_a_group_selects_by_the_name_that_tables_print"],
    "maps of other runs": [
        "tables/test_maps_picture.py::test_a_picture_of_runs_that_were_trained_anew_is_left_out",
        "tables/test_maps_picture.py::test_a_picture_of_rows_that_the_table_does_not_have_is_left_out",
    ],
    "a column of fewer runs": ["tables/test_write.py::test_a_cell_of_which_not_all_runs_were_judged_says_so"],
    "evaluated in another precision": [
        "evaluation/test_evaluate.py::test_a_run_is_tested_in_its_own_precision_and_another_one_is_another_file",
        "evaluation/test_evaluate.py::test_what_was_edited_is_not_believed",
    ],
    "rows that replace layers": [
        "tables/test_same_setup.py::test_a_row_that_replaces_layers_is_said_to_share_the_others_alone",
    ],
    "NaN in a test": ["training/test_classifier.py::test_logits_that_are_not_finite_fail_the_test"],
    "work deleted": [
        "faults/test_provenance.py::test_a_mistake_at_the_start_deletes_nothing",
        "faults/test_provenance.py::test_what_is_damaged_is_put_aside_as_it_is_with_all_that_belongs_to_it",
    ],
}  # fmt: skip


def counted(outcomes):
    """(ways tried, ways of which a test failed). outcomes: {node id from tests/ on, without its parameters: passed}."""
    ran = {way: [outcomes[name] for name in names if name in outcomes] for way, names in TRIED.items()}
    return sum(map(bool, ran.values())), sum(not all(passed) for passed in ran.values())
