//! One suite of behaviours over [`scim_operator::store::Store`], run against every backend: a new one
//! joins with a function in `backend.rs` and a line at the end of this file.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod backend;
mod concurrency;
mod fixture;
mod idempotency;
mod listing;
mod members;
mod opening;
mod property;
mod tenants;
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
            listing::list_is_in_the_order_of_creation_by_type,
            listing::index_pages_have_their_edges,
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
            property::lists_equal_filters_in_memory,
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
