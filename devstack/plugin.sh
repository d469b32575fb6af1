# shellcheck shell=bash
# DevStack plugin of manila-aspects. DevStack sources it in each phase.

# Run the hooks of a section before and after each call.
function enable_hooks {
    local section=$1 hooks=$2
    iniset "$MANILA_CONF" "$section" hook_drivers "$hooks"
    iniset "$MANILA_CONF" "$section" enable_pre_hooks True
    iniset "$MANILA_CONF" "$section" enable_post_hooks True
}

function configure_manila_aspects {
    local backend backends
    iniset "$MANILA_CONF" DEFAULT share_manager aspects.manila.ShareManager
    backends=$(iniget "$MANILA_CONF" DEFAULT enabled_share_backends)
    for backend in ${backends//,/ }; do
        enable_hooks "$backend" "$MANILA_ASPECTS_HOOKS"
    done
    if [[ -n $MANILA_ASPECTS_API_HOOKS ]]; then
        iniset "$MANILA_CONF" DEFAULT share_api_class aspects.manila.ShareAPI
        enable_hooks share_api "$MANILA_ASPECTS_API_HOOKS"
    fi
}

if is_service_enabled manila; then
    case "$*" in
        "stack install")
            echo_summary "Installing manila-aspects"
            setup_develop "$MANILA_ASPECTS_DIR" "$MANILA_ASPECTS_EXTRAS"
            ;;
        # Manila's plugin writes the file in this phase, and starts the services later.
        "stack post-config")
            echo_summary "Configuring manila-aspects"
            configure_manila_aspects
            ;;
    esac
fi
