# Options of qsub for mails and reruns, which are the same for PBS and Grid Engine.
# shellcheck shell=sh

# mail_and_rerun: add -M, -m and -r to the options of qsub, unless the script sets them.
mail_and_rerun() {
    if [ -n "$r_mail" ]; then
        letters=''
        case $r_mail_on in *begin*) letters=b ;; esac
        case $r_mail_on in *end*) letters=${letters}e ;; esac
        case $r_mail_on in *fail*) letters=${letters}a ;; esac
        prepend -M "$r_mail" -m "$letters"
    else
        is_requested -m -M || prepend -m n
    fi
    case $r_requeue in
        1) prepend -r y ;;
        0) prepend -r n ;;
        *) is_requested -r || prepend -r n ;;
    esac
}
