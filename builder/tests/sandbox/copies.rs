//! What is so only where the root of a step is a copy of its image.

use builder::sandbox::Step;

use crate::Test;
use crate::world::World;

pub(crate) const TESTS: &[Test] = &[
    ("copies_the_next_step_goes_on", next_step),
    ("copies_a_directory_moves_with_its_owners", moved_directory),
];

fn next_step(world: &World) {
    let first = world
        .run(world.script("mkdir /d && echo one > /d/f && ln /d/f /d/g && ln -s f /d/l && chown 5:6 /d/f"));
    let layer = world.commit(&first);
    let mut step = world.script("test \"$(cat /d/g)\" = one && echo two > /d/new && rm /d/l");
    step.lowers.push(layer);
    let second = world.run(step.clone());
    assert!(second.status.is_success(), "{second:?}");
    assert_eq!(world.changes_over(&second, &step.lowers), ["d", "d/l", "d/new"]);
}

/// An overlay refuses to move a directory of the layers below; a copy lets it go, with all that is in it.
fn moved_directory(world: &World) {
    let first = world.run(world.script("mkdir -p /old/d && touch /old/d/f && chown -R 5:6 /old"));
    let layer = world.commit(&first);
    let mut step = world.script("mv /old /new && touch /new/own && stat -c %u:%g /new/d/f /new/own");
    step.lowers.push(layer);
    let Step { lowers, .. } = step.clone();
    let second = world.run(step);
    assert_eq!(second.stdout, "5:6\n0:0\n", "{second:?}");
    assert_eq!(
        world.owners_over(&second, &lowers),
        ["new 5:6", "new/d 5:6", "new/d/f 5:6", "new/own 0:0", "old -"]
    );
}
