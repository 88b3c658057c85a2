//! One suite of behaviours over [`scim_operator::store::Store`], run against every backend: a new one
//! joins with a function in `backend.rs` and a line at the end of this file.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod audit;
mod backend;
mod cache;
mod concurrency;
#[path = "../support/postgres.rs"]
mod database;
mod fixture;
mod idempotency;
mod in_turn;
mod laws;
mod leavers;
mod linearizable;
mod listing;
mod members;
mod moving;
mod opening;
mod pending;
#[path = "../support/pgbouncer.rs"]
mod pgbouncer;
mod pods;
mod property;
#[path = "../support/proxy.rs"]
mod proxy;
mod schemas;
mod tenants;
mod upgrade;
mod writes;

/// The behaviours, each a test of its own for each backend.
macro_rules! suite {
    ($backend:ident) => {
        suite!($backend:
            writes::created_resource_reads_back_as_written,
            writes::created_body_begins_with_schemas_and_id,
            writes::resource_of_another_type_or_id_is_not_found,
            writes::taken_user_name_is_refused_in_any_case,
            writes::taken_user_name_is_refused_on_put_and_patch,
            writes::freed_user_name_can_be_taken,
            writes::replaced_resource_moves_its_version_and_time,
            writes::put_or_patch_that_changes_nothing_keeps_the_version,
            writes::missing_resource_is_404_for_every_change,
            writes::failed_precondition_is_412_and_changes_nothing,
            writes::version_of_a_user_in_groups_is_checked_whole,
            writes::refused_unit_leaves_nothing_behind,
            writes::unit_that_requires_a_refused_one_is_refused,
            writes::units_after_max_errors_are_not_tried,
            writes::counters_follow_every_change,
            writes::long_values_are_told_apart,
            members::unknown_members_are_all_named,
            members::members_carry_type_and_live_display,
            members::groups_are_direct_and_indirect,
            members::groups_that_contain_each_other_end,
            members::groups_of_one_unit_may_contain_each_other,
            members::put_makes_the_whole_membership,
            members::patch_that_leaves_membership_as_it_was_keeps_the_version,
            members::filter_removes_the_members_it_matches,
            members::deleted_member_leaves_its_groups_and_moves_their_versions,
            members::deleted_group_is_no_group_of_its_members,
            members::renamed_member_moves_the_version_of_its_groups,
            members::large_group_reads_whole,
            leavers::retained_user_is_gone_for_every_reader,
            leavers::purging_tenant_keeps_nothing,
            leavers::restored_user_is_as_it_was_with_its_groups,
            leavers::restored_group_has_the_members_that_are_there,
            leavers::membership_that_was_taken_away_meanwhile_does_not_come_back,
            leavers::taken_name_is_in_the_way_of_a_restore,
            leavers::retention_that_is_over_is_over_at_once,
            leavers::recreated_user_has_its_id_and_no_groups,
            leavers::recreation_goes_by_external_id_before_user_name,
            leavers::recreated_in_bulk_is_what_the_others_refer_to,
            leavers::racing_recreations_have_one_winner,
            leavers::deactivated_user_leaves_its_groups_where_asked,
            leavers::purge_goes_in_steps_and_oldest_first,
            leavers::large_group_is_purged_in_many_steps,
            leavers::removed_tenant_leaves_no_leavers,
            leavers::deleted_or_deactivated_is_so_for_every_reader_at_once,
            pending::pending_member_is_seen_by_nobody,
            pending::rejected_push_names_ten_thousand_unknown_members,
            pending::pending_member_becomes_real_when_it_comes_back,
            pending::external_id_names_a_member_where_asked,
            pending::without_external_ids_only_an_id_is_a_member,
            pending::push_that_takes_a_pending_member_away_is_heard,
            pending::retained_group_keeps_its_pending_members_to_itself,
            pending::refused_push_leaves_no_pending_member,
            listing::list_is_in_the_order_of_creation_by_type,
            listing::index_pages_have_their_edges,
            listing::index_pages_are_right_while_resources_come_and_go,
            listing::cursor_walk_sees_each_resource_once,
            listing::cursor_walk_goes_on_while_resources_come_and_go,
            listing::sort_puts_missing_values_last_and_first_when_descending,
            listing::sorted_cursor_walk_equals_one_sorted_page,
            listing::indexed_filters_find_what_they_name,
            listing::filters_across_types_add_up,
            listing::long_scan_gives_the_same_as_a_short_one,
            concurrency::racing_creates_of_one_user_name_make_one,
            concurrency::racing_patches_of_one_user_lose_nothing,
            concurrency::racing_patches_of_one_group_lose_nothing,
            concurrency::racing_refusals_undo_themselves_alone,
            concurrency::lists_are_of_one_moment,
            idempotency::write_with_a_key_is_applied_once,
            idempotency::key_belongs_to_its_tenant,
            idempotency::refusal_is_remembered_and_undone,
            idempotency::answer_that_cannot_be_made_undoes_the_write,
            idempotency::racing_twins_are_answered_alike,
            idempotency::old_answers_are_forgotten,
            idempotency::refused_command_is_refused_before_anything_is_done,
            tenants::tenants_do_not_see_each_other,
            tenants::removed_tenant_is_kept_unless_marked,
            tenants::purged_tenant_can_come_back_empty,
            tenants::cursor_key_stays,
            tenants::closed_store_says_so,
            audit::each_change_has_its_row,
            audit::what_changes_nothing_has_no_row,
            audit::password_is_named_and_has_no_value,
            audit::values_are_kept_where_they_are_asked_for,
            audit::members_that_come_and_go_are_named,
            audit::many_members_are_counted,
            audit::groups_that_move_with_a_member_have_rows,
            audit::follower_sees_each_row_once_and_every_version,
            audit::rows_past_retention_go_and_readers_are_told,
            audit::pruning_takes_small_steps,
            audit::log_is_read_from_a_time_on,
            audit::log_of_a_purged_tenant_is_gone,
            schemas::attribute_that_becomes_unique_is_indexed_and_found,
            schemas::duplicates_stay_and_new_ones_are_refused,
            schemas::attribute_no_longer_unique_may_repeat_and_become_so_again,
            schemas::writes_under_the_schema_of_before_keep_the_new_index,
            schemas::racing_creates_of_one_extension_value_make_one,
            schemas::removed_attribute_is_hidden_kept_and_comes_back,
            schemas::newly_required_attribute_does_not_block_other_patches,
            schemas::values_that_no_longer_fit_are_still_read,
            schemas::removed_resource_type_keeps_its_resources,
            tenants::last_uses_of_tokens_only_move_forward,
            property::lists_equal_filters_in_memory,
            laws::members_are_those_of_the_model,
        );
    };
    ($backend:ident: $($module:ident::$behaviour:ident),* $(,)?) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    crate::$module::$behaviour(&crate::backend::$backend()).await;
                }
            )*
        }
    };
}

suite!(sqlite);
suite!(postgres);
