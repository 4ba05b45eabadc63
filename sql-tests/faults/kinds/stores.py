"""An object store that fails now and then."""

from kinds.fault import Fault
from scene import Missed
from sites import Store


class FlakyStore(Fault):
    """One read in twenty is answered by an error, others are cut in the middle or late: whoever reads asks again."""

    name = "flaky_store"
    site = Store

    @staticmethod
    def question(data, query, chance):
        return data.question_once(query)

    def inject(self, scene):
        proxy = scene.site.proxy
        # The statement has only begun: nothing has been read.
        proxy.begin_troubles(scene.random.random())
        while not scene.client.has_ended():
            scene.pause(0.02)
        if not proxy.troubles:
            raise Missed
        return f"reads {', '.join(f'{count} x {trouble}' for trouble, count in sorted(proxy.troubles.items()))}"

    def heal(self, scene):
        scene.site.proxy.end_troubles()
