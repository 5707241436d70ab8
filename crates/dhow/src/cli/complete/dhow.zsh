#compdef dhow
# zsh: put `source <(dhow completion zsh)` behind compinit in ~/.zshrc, or this text as _dhow into a directory of $fpath
_dhow() {
    local line
    local -a lines found
    lines=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    (($#found)) && _describe -V dhow found
    case $lines[1] in
        files) _files ;;
        dirs) _files -/ ;;
    esac
}
if [[ $funcstack[1] == _dhow ]]; then
    _dhow "$@"
else
    compdef _dhow dhow
fi
