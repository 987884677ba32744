#!/usr/bin/env bash
# What `make install` makes works from wherever it is moved to, and has the manual and the completions.
# Usage: install_test.sh BUILD-FOLDER
# All must be built: a build here could relink the program that other tests run at the same time.
source "$(dirname "$0")/common.sh"
build=$(cd "$1" && pwd)

cmake --install "$build" --prefix "$folder/first" >/dev/null
mv "$folder/first" "$folder/moved"
cd "$folder"
program=$folder/moved/bin/evomoe
share=$folder/moved/share

[[ $("$program" --version) == evomoe\ [0-9]* ]] || fail "the installed program does not run"
! ldd "$program" | grep 'not found' || fail "libraries are not found"
! readelf -d "$program" | grep -E 'R(UN)?PATH' | grep -F "$build" || fail "it looks into the build folder"
for command in '' $("$program" --help | sed -n 's/^  \([a-z][a-z-]*\) .*/-\1/p'); do
  [[ -s $share/man/man1/evomoe$command.1 ]] || fail "no page of evomoe$command"
done
(($(ls "$share/man/man1" | wc -l) > 10)) || fail "pages are missing"
for file in doc/evomoe/{README.md,LICENSE,CITATION.cff,CHANGELOG.md,docs/options.md} zsh/site-functions/_evomoe; do
  [[ -s $share/$file ]] || fail "no $file"
done

# bash finds the completion by the program's name; benchmarks are in it.
complete_words() { bash -c 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _evomoe; echo " ${COMPREPLY[*]} "' "$share/bash-completion/completions/evomoe" "$@"; }
[[ $(complete_words evomoe com) == " compare " ]] || fail "commands are not completed"
[[ $(complete_words evomoe bench "") == *" layer "* ]] || fail "benchmarks are not completed"
[[ $(complete_words evomoe bench layer --skew "") == " uniform zipf balanced " ]] || fail "a benchmark's options are not completed"

# The same things one by one, and one thing at a time.
"$program" options --man train | cmp - "$share/man/man1/evomoe-train.1"
"$program" options --man | cmp - "$share/man/man1/evomoe.1"
"$program" options --completion bash | cmp - "$share/bash-completion/completions/evomoe"
"$program" options --completion zsh | cmp - "$share/zsh/site-functions/_evomoe"
for wrong in '--man train --completion bash' '--man trian' '--completion fish' 'train'; do
  code=0
  "$program" options $wrong >/dev/null 2>&1 || code=$?
  ((code == 2)) || fail "options $wrong: exit code $code"
done
