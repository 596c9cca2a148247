#!/bin/sh
# The subject of a commit message (in the file $1) is "area: verb ...", of at most 72 characters.
subject=$(head -n 1 "$1")
case $subject in Merge\ * | Revert\ * | fixup!\ * | squash!\ *) exit 0 ;; esac
if [ "$(printf %s "$subject" | LC_ALL=C.UTF-8 wc -m)" -gt 72 ] ||
    ! printf '%s\n' "$subject" | grep -Eq '^[[:alnum:]_./-]+(, [[:alnum:]_./-]+)*: [^[:space:]].*[^.[:space:]]$'; then
    printf '%s\n' "the subject is not \"area: verb ...\" of at most 72 characters, without a full stop: $subject" \
        "  hint: as in \"samplers: type the jobs and reports\"; the body may be longer" >&2
    exit 1
fi
